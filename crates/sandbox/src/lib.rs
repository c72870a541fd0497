//! Runs one process in one mounted root
