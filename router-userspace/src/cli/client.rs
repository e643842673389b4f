//! Asks the agent on its control socket, and waits for the answer.
//!
//! The rule this room keeps: `--json` prints the agent's own answer, untouched, so that a field
//! this program does not know yet reaches the operator.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{runtime::Runtime, task::LocalSet, time::timeout};

use super::{
    fail::{Exit, Fail},
    output,
};
use crate::{
    agent::{
        api::{Failure, SCHEMA},
        control::{ExchangeError, Request, exchange},
    },
    config,
};

/// The agent behind a control socket.
pub(super) struct Client {
    socket: PathBuf,
    runtime: Runtime,
    patience: Duration,
}

/// What the agent answered: JSON.
pub(super) struct Answer(Bytes);

impl Client {
    /// A client for the agent that listens on `socket`. Nothing is asked yet.
    ///
    /// # Errors
    /// If the system gives no runtime.
    pub(super) fn new(socket: &Path) -> Result<Self, Fail> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fail::new(Exit::Kernel, format!("starting a runtime: {error}")))?;
        Ok(Self { socket: socket.to_owned(), runtime, patience: PATIENCE })
    }

    /// The same, for what may take so much longer.
    pub(super) fn patient(self, longer: Duration) -> Self {
        Self { patience: PATIENCE + longer, ..self }
    }

    /// Asks `request`.
    ///
    /// # Errors
    /// If no agent can be reached, or if it refuses, in its own words.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, Fail> {
        let in_time = async { timeout(self.patience, exchange(&self.socket, request)).await };
        let answer = match LocalSet::new().block_on(&self.runtime, in_time) {
            Ok(answer) => answer.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.silent()),
        };
        let (status, body) = answer?;
        if status.is_success() {
            return Ok(Answer(body));
        }
        let exit = if status.is_server_error() { Exit::Kernel } else { Exit::No };
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(Fail::told(exit, failure)),
            Err(_) => Err(Fail::new(exit, format!("control socket {}: {status}", self.socket.display()))),
        }
    }

    fn failed(&self, error: &ExchangeError) -> Fail {
        let socket = self.socket.display();
        let (why, hint) = match error {
            ExchangeError::Request(error) => return Fail::new(Exit::Usage, format!("the request: {error}")),
            ExchangeError::Connect(error) => match error.kind() {
                io::ErrorKind::NotFound => ("no agent runs here: there is no such socket".to_owned(), self.start()),
                io::ErrorKind::ConnectionRefused => {
                    ("no agent answers: it has ended without removing its socket".to_owned(), self.start())
                }
                io::ErrorKind::PermissionDenied => {
                    ("permission denied: only root may ask the agent".to_owned(), "sudo quic-router ...".to_owned())
                }
                _ => (error.to_string(), self.start()),
            },
            ExchangeError::Http(error) => (
                format!("what answers does not speak as an agent does: {error}"),
                format!("ss -xlp src {socket}, which names the process"),
            ),
        };
        self.unreachable(&why, hint)
    }

    fn silent(&self) -> Fail {
        let why = format!("the agent did not answer within {}", output::span(self.patience));
        self.unreachable(&why, format!("ss -xlp src {}, which names the process", self.socket.display()))
    }

    fn unreachable(&self, why: &str, hint: String) -> Fail {
        Fail::new(Exit::NoAgent, format!("control socket {}: {why}", self.socket.display())).hint(hint)
    }

    /// The command that starts an agent which this client would reach.
    fn start(&self) -> String {
        if self.socket == Path::new(config::DEFAULT_CONTROL) {
            "quic-router run, or --control PATH if the agent's socket is elsewhere".to_owned()
        } else {
            format!("quic-router run --control {}", self.socket.display())
        }
    }
}

impl Answer {
    /// The JSON as the agent wrote it.
    pub(super) fn json(&self) -> String {
        String::from_utf8_lossy(&self.0).trim_end().to_owned()
    }

    /// The answer as what it was asked for.
    ///
    /// # Errors
    /// If the agent's answers have another shape than this program knows.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Fail> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let unknown = |why: String| {
            Fail::new(Exit::No, format!("the agent's answer: {why}"))
                .hint("the agent's own version of quic-router, or --json")
        };
        match serde_json::from_slice::<Schema>(&self.0) {
            Ok(Schema { schema: SCHEMA }) => {
                serde_json::from_slice(&self.0).map_err(|error| unknown(error.to_string()))
            }
            Ok(Schema { schema }) => Err(unknown(format!("schema {schema}, this program knows {SCHEMA}"))),
            Err(error) => Err(unknown(error.to_string())),
        }
    }

    #[cfg(test)]
    pub(super) fn of(json: &'static str) -> Self {
        Self(Bytes::from_static(json.as_bytes()))
    }
}

/// How long the agent may take: it answers from memory, but a full flow table takes a while.
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read as _, Write as _},
        os::unix::net::UnixListener,
        thread,
    };

    use super::*;
    use crate::agent::api::Workers;

    /// Asks an agent that says `answer`; what was asked of it, and what came of it.
    fn ask(name: &str, answer: &'static str) -> (String, Result<Answer, Fail>) {
        let socket = std::env::temp_dir().join(format!("quic-router-{}-{name}.sock", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let outcome = Client::new(&socket).unwrap().ask(&Request::Workers);
        fs::remove_file(&socket).unwrap();
        (agent.join().unwrap(), outcome)
    }

    #[test]
    fn an_answer_is_kept_as_it_was_written() {
        let body = r#"{"schema":1,"workers":[],"new":true}"#;
        let (request, outcome) =
            ask("whole", "HTTP/1.1 200 OK\r\ncontent-length: 36\r\n\r\n{\"schema\":1,\"workers\":[],\"new\":true}");
        assert!(request.starts_with("GET /v1/workers HTTP/1.1\r\n"), "{request}");
        let answer = outcome.ok().unwrap();
        assert_eq!(answer.json(), body);
        assert!(answer.read::<Workers>().unwrap().workers.is_empty());
    }

    #[test]
    fn a_refusal_is_told_in_the_agents_words() {
        let (_, outcome) =
            ask("refused", "HTTP/1.1 409 Conflict\r\ncontent-length: 27\r\n\r\n{\"error\":\"no\",\"hint\":\"yes\"}");
        assert_eq!(outcome.err().unwrap(), Fail::new(Exit::No, "no").hint("yes"));
        let (_, outcome) = ask("kernel", "HTTP/1.1 500 Oh\r\ncontent-length: 18\r\n\r\n{\"error\":\"no map\"}");
        assert_eq!(outcome.err().unwrap(), Fail::new(Exit::Kernel, "no map"));
    }

    #[test]
    fn without_an_agent_the_exit_code_is_3_and_the_socket_is_named() {
        let fail = Client::new(Path::new("/nowhere/control.sock")).unwrap().ask(&Request::Status).err().unwrap();
        assert_eq!(fail.exit(), Exit::NoAgent);
        assert_eq!(
            fail.to_string(),
            "quic-router: control socket /nowhere/control.sock: no agent runs here: there is no such socket\n\
             try: quic-router run --control /nowhere/control.sock\n"
        );
        let (_, outcome) = ask("nonsense", "SSH-2.0-OpenSSH_9.2\r\n");
        assert_eq!(outcome.err().unwrap().exit(), Exit::NoAgent);
    }

    #[test]
    fn another_schema_is_not_guessed_at() {
        let fail = Answer::of(r#"{"schema":2,"workers":[]}"#).read::<Workers>().unwrap_err();
        assert!(fail.to_string().contains("schema 2, this program knows 1"), "{fail}");
    }
}
