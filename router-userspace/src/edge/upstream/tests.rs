//! The way of requests and streams to real servers on loopback.

mod balance;
mod early_answers;
mod health;
mod http1;
mod http2;
mod lab;
mod streams;
mod tls;
