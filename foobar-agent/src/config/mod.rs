//! The configuration: from a file to [`model::Config`], with every error at once.

pub mod model;
