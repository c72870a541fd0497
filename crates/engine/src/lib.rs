//! The build engine: a plan to images
