//! What the monitoring client shows, and how it stands up to whoever connects.

mod exposition;
mod http;
