mod capture;
mod words;
