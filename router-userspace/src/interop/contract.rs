//! What the runner says to an endpoint: environment variables and folders.
//!
//! | variable | |
//! |---|---|
//! | `ROLE`, `TESTCASE` | `server`, and one of the cases |
//! | `SSLKEYLOGFILE` | where TLS secrets are written down; read by the TLS library |
//! | `QLOGDIR` | where connections are traced |
//!
//! Ours besides: `QUIC_ROUTER_INTEROP=1`, without which nothing is served, and for tests
//! `QUIC_ROUTER_INTEROP_ROOT` (the folder that has `www`, `certs` and `logs`), `..._ENGINE`,
//! `..._INTERFACE` and `..._ADMIN` (the address of `/metrics`).

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{case::Case, switches::Switches};

/// Why nothing is served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The runner is to skip the case.
    #[error("case {name:?} is not supported: {why}")]
    Unsupported { name: String, why: &'static str },
    /// The environment does not say that this is a test.
    #[error(
        "refused: this build is for interoperability tests and not for production\n\
         try: QUIC_ROUTER_INTEROP=1 if it is one, else the release build of quic-router"
    )]
    NotATest,
}

/// The runner's wishes.
#[derive(Clone, Debug)]
pub(super) struct Contract {
    case: Case,
    root: PathBuf,
    qlog: Option<PathBuf>,
    engine: String,
    interface: Option<String>,
    admin: Option<String>,
}

impl Contract {
    /// Reads it from environment variables.
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Refusal> {
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let name = text("TESTCASE").unwrap_or_default();
        let case = match text("ROLE").as_deref() {
            Some("server") | None => Case::named(&name),
            Some(_) => Err("this endpoint is a server only"),
        };
        let case = case.map_err(|why| Refusal::Unsupported { name, why })?;
        if text("QUIC_ROUTER_INTEROP").as_deref() != Some("1") {
            return Err(Refusal::NotATest);
        }
        Ok(Self {
            case,
            root: variable("QUIC_ROUTER_INTEROP_ROOT").map_or_else(|| "/".into(), PathBuf::from),
            qlog: variable("QLOGDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from),
            // The runner's container may not load kernel programs.
            engine: text("QUIC_ROUTER_INTEROP_ENGINE").unwrap_or_else(|| "userspace".into()),
            interface: text("QUIC_ROUTER_INTEROP_INTERFACE"),
            admin: text("QUIC_ROUTER_INTEROP_ADMIN"),
        })
    }

    pub(super) fn switches(&self) -> Switches {
        self.case.switches
    }

    /// Makes the folders that are written to.
    pub(super) fn make_folders(&self) -> Result<()> {
        let folders = [Some(self.root.join("run")), self.qlog.clone()];
        for folder in folders.iter().flatten() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// The router's configuration for the case.
    pub(super) fn config(&self) -> String {
        let Self { case, root, qlog, engine, interface, admin } = self;
        let below = |path: &str| root.join(path);
        let interfaces = interface.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        // The pins of a laboratory are called like its folder.
        let pins = root.file_name().map_or("quic-router-interop".into(), |name| name.to_string_lossy());
        let listener = |address| {
            format!(
                "[[listener]]\naddress = \"{address}\"\nearly_data = {}\ncertificates = [{{ cert = {:?}, key = {:?} }}]\n",
                case.early_data,
                below("certs/cert.pem"),
                below("certs/priv.key")
            )
        };
        let www = below("www").display().to_string();
        // Before HTTP/3, so that it is preferred where a client offers both.
        let hq =
            format!("[[route]]\nalpn = \"hq-interop\"\nupstream = \"hq\"\n[upstream.hq]\nservers = [\"hq:{www}\"]\n");
        let hq = if case.http3_only { "" } else { &*hq };
        let qlog = qlog.as_deref().map(|dir: &Path| format!("[qlog]\ndir = {dir:?}\n")).unwrap_or_default();
        let admin = admin.as_deref().map(|at| format!("[admin]\naddress = {at:?}\n")).unwrap_or_default();
        format!(
            "[router]\nworkers = 2\ndrain_timeout = \"1s\"\nengine = {engine:?}\ninterfaces = [{interfaces}]\n\
             bpf_dir = \"/sys/fs/bpf/{pins}\"\nstate_dir = {:?}\ncontrol = {:?}\n{LIMITS}{admin}{qlog}{}{}{hq}\
             [[route]]\npath = \"/\"\nupstream = \"files\"\n[upstream.files]\nservers = [\"files:{www}\"]\n",
            below("run/quic-router-interop"),
            below("run/quic-router-interop.sock"),
            listener("0.0.0.0:443"),
            listener("[::]:443"),
        )
    }
}

/// Losses and long round trips make handshakes last longer than a server in production waits for them: clients whose
/// probes back off may say nothing for half a minute.
const LIMITS: &str = "[limits]\nrequest_timeout = \"180s\"\nidle_timeout = \"120s\"\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Contract, Refusal> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Contract::read(&find)
    }

    #[test]
    fn an_unknown_case_is_unsupported_before_all_else() {
        let unsupported = read(&[("ROLE", "server"), ("TESTCASE", "h8zr1")]).unwrap_err();
        assert_eq!(unsupported, Refusal::Unsupported { name: "h8zr1".into(), why: "there is no such case" });
        let client = read(&[("ROLE", "client"), ("TESTCASE", "handshake"), ("QUIC_ROUTER_INTEROP", "1")]);
        assert!(matches!(client, Err(Refusal::Unsupported { .. })), "{client:?}");
    }

    #[test]
    fn nothing_is_served_unless_it_is_a_test() {
        for insisting in [&[][..], &[("QUIC_ROUTER_INTEROP", "0")], &[("QUIC_ROUTER_INTEROP", "")]] {
            let variables = [&[("TESTCASE", "handshake")], insisting].concat();
            assert_eq!(read(&variables).unwrap_err(), Refusal::NotATest);
        }
        assert!(read(&[("TESTCASE", "handshake"), ("QUIC_ROUTER_INTEROP", "1")]).is_ok());
    }

    #[test]
    fn http_0_9_is_offered_but_where_http_3_is_tested() {
        let config = |case| read(&[("TESTCASE", case), ("QUIC_ROUTER_INTEROP", "1")]).unwrap().config();
        assert!(config("transfer").contains("servers = [\"hq:/www\"]"), "{}", config("transfer"));
        assert!(!config("http3").contains("hq"), "{}", config("http3"));
        assert!(config("zerortt").contains("early_data = true"));
        assert!(config("resumption").contains("early_data = false"));
    }
}
