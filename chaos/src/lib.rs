//! The black-box proof: real servers, real clients, everything that may go wrong between them, and a checker.
//!
//! * what a client did and saw: [`history`], and what it wrote: [`text`]; what is there in the end: [`truth`], by [`reading`]; what must never happen:
//!   [`checker`], and how fast it went: [`figures`]
//! * who there is: [`population`]; the clients, in processes of their own: [`crew`], and [`hands`] at the other end
//! * everything that runs: [`stage`]; what goes wrong: [`nemesis`], and when: [`plan`]
//! * all of it together: [`run`], or one story with many clients: [`scenario`], and what comes of it: [`report`]
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr)] // It tells whoever waits how far it is.

pub mod checker;
pub mod crew;
pub mod figures;
pub mod hands;
pub mod history;
pub mod nemesis;
pub mod plan;
pub mod population;
pub mod reading;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stage;
pub mod text;
pub mod truth;
