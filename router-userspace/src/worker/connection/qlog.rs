//! Traces of connections for tools such as qvis (draft-ietf-quic-qlog-main-schema).
//!
//! An event is serialised and written to a buffer by the worker itself, some microseconds for each
//! packet of a traced connection; the others cost nothing.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use quinn::{Incoming, QlogConfig, ServerConfig, TransportConfig};

/// Which connections are traced, and where to.
pub struct Tracing {
    dir: PathBuf,
    sample: f64,
    transport: Box<dyn Fn() -> TransportConfig + Send + Sync>,
    /// A trace could not be begun, and that has been said.
    in_trouble: AtomicBool,
}

impl Tracing {
    /// The part `sample` of connections, each to a file in `dir`. A traced connection has a
    /// transport of its own: `transport` makes one like the others'.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub fn new(
        dir: PathBuf,
        sample: f64,
        transport: impl Fn() -> TransportConfig + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let probe = dir.join(format!(".probe-{}", std::process::id()));
        let tried = File::create(&probe).and_then(|_| fs::remove_file(&probe));
        tried.map_err(|e| io::Error::new(e.kind(), format!("qlog.dir: {}: {e}", dir.display())))?;
        Ok(Self { dir, sample, transport: Box::new(transport), in_trouble: AtomicBool::default() })
    }

    /// What to accept `incoming` with so that it is traced; none if it is not.
    pub(in crate::worker) fn accept(&self, incoming: &Incoming, like: &ServerConfig) -> Option<Arc<ServerConfig>> {
        if rand::random::<f64>() >= self.sample {
            return None;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = self.dir.join(format!("{}-{}.sqlog", now.as_millis(), incoming.orig_dst_cid()));
        let file = match File::create_new(&path) {
            Ok(file) => file,
            Err(e) => {
                if !self.in_trouble.swap(true, Relaxed) {
                    tracing::warn!("qlog: {}: {e}; connections go on untraced", path.display());
                }
                return None;
            }
        };
        self.in_trouble.store(false, Relaxed);
        let mut qlog = QlogConfig::default();
        qlog.writer(Box::new(BufWriter::new(file))).title(Some("quic-router".to_owned()));
        let mut transport = (self.transport)();
        transport.qlog_stream(qlog.into_stream());
        let mut server = like.clone();
        server.transport_config(Arc::new(transport));
        Some(Arc::new(server))
    }
}
