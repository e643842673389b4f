//! stub
pub fn summary() -> String { "stub".into() }
pub fn refuse_public_listen(_: &[std::net::SocketAddr], _: bool, _: bool) -> Result<(), String> { Ok(()) }
