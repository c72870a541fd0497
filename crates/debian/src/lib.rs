//! Debian archives to unpacked roots
