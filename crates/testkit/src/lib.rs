//! Test doubles and the end-to-end bench (development only)
