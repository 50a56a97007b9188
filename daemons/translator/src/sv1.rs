//! Stratum V1 as miners really speak it: one JSON object a line, over TCP.
//!
//! [`line`] cuts bytes into lines, [`message`] turns a line into a call and our answers into lines. Neither knows what a
//! call does, or of any socket; both take what firmware in the field sends rather than what JSON-RPC asks for.

pub mod line;
pub mod message;
