//! Captures and words, whole and hostile.

mod capture;
mod words;
