//! The wire as others see it: golden files, the page that describes it, and random input.

mod bad_input;
mod golden;
mod page;
mod random;
mod samples;
