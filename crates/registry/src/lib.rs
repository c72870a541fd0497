//! Distribution-spec client and embedded registry server
