//! HTTP client shared by everything that downloads
