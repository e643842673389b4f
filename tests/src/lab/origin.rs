//! nginx from Debian's packages as a server behind the router.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};

use super::{Program, Running, peers, topology::UPSTREAM4};

/// A running nginx; ended on drop. It answers each request with a line: what it speaks, how it was
/// reached, and what it was told.
#[derive(Debug)]
pub struct Origin {
    program: Program,
    socket: PathBuf,
}

impl Origin {
    /// Starts it beside the other servers, with `certificate` of the laboratory's home.
    pub fn start(lab: &Running, certificate: &str) -> Result<Self> {
        let home = lab.home();
        let socket = home.path("origin.sock");
        let file = |kind: &str| home.path(&format!("{certificate}.{kind}")).display().to_string();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", home.path(&format!("origin-{kind}")).display()))
            .join(" ");
        let text = format!(
            "daemon off;\nuser root;\npid {pid};\nerror_log {log} error;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  {temporary}\n\
             \x20 server {{\n    listen {UPSTREAM4}:{TLS} ssl;\n    listen {UPSTREAM4}:{H2C};\n    listen unix:{socket};\n\
             \x20   http2 on;\n    ssl_certificate {cert};\n    ssl_certificate_key {key};\n\
             \x20   ssl_client_certificate {cert};\n    ssl_verify_client optional;\n\
             \x20   default_type text/plain;\n\
             \x20   location / {{ return 200 \"$server_protocol $scheme host=$http_host sni=$ssl_server_name \
             client=$ssl_client_verify for=$http_x_forwarded_for via=$http_via\\n\"; }}\n\
             \x20 }}\n}}\n",
            pid = home.path("origin.pid").display(),
            log = home.path("origin.log").display(),
            socket = socket.display(),
            cert = file("pem"),
            key = file("key"),
        );
        let config = home.write("origin.conf", &text)?;
        let mut command = lab.network().upstream().command(peers::find("nginx")?);
        command.arg("-e").arg(home.path("origin.log")).arg("-c").arg(config);
        let origin = Self { program: Program::start("nginx", &mut command)?, socket };
        for _ in 0..100 {
            // It listens on all or on nothing, and its socket in the file system can be seen.
            if std::os::unix::net::UnixStream::connect(&origin.socket).is_ok() {
                return Ok(origin);
            }
            let ended = origin.program.ends_within(Duration::from_millis(50));
            ensure!(!ended, "nginx ended: {}", std::fs::read_to_string(home.path("origin.log")).unwrap_or_default());
        }
        anyhow::bail!("nginx does not listen: {}", origin.program.said())
    }

    /// Where it speaks TLS, with HTTP/2 and HTTP/1.1.
    pub fn https(&self) -> String {
        format!("https://{UPSTREAM4}:{TLS}")
    }

    /// Where it speaks HTTP/2 in clear.
    pub fn h2c(&self) -> String {
        format!("h2c://{UPSTREAM4}:{H2C}")
    }

    /// Its Unix socket.
    pub fn unix(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Its workers end with it; killed, they would be left.
        let _ = self.program.terminate();
        self.program.ends_within(Duration::from_secs(5));
    }
}

const TLS: u16 = 8443;
const H2C: u16 = 8081;
