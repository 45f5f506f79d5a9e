//! The black-box proof: real servers, real clients, everything that may go wrong between them, and a checker.
//!
//! * what a client did and saw: [`history`]; what is there in the end: [`truth`]; what must never happen: [`checker`]
#![forbid(unsafe_code)]

pub mod checker;
pub mod history;
pub mod truth;
