//! stub
use serde::Serialize;
#[derive(Default)]
pub struct Subject {
    pub interfaces: Vec<String>,
    pub workers: u16,
    pub max_connections: u32,
    pub bpf_dir: std::path::PathBuf,
    pub listeners: Vec<std::net::SocketAddr>,
    pub needs_bpf: bool,
}
#[derive(Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}
#[derive(Serialize)]
pub struct Finding {
    pub level: Level,
    pub subject: String,
    pub finding: String,
    pub hint: Option<String>,
}
pub fn examine(_: &Subject) -> Vec<Finding> {
    Vec::new()
}
pub fn render(_: &[Finding]) -> String {
    String::new()
}
