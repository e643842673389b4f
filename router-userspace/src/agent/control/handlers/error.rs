//! Why a request on the control socket is not answered, as HTTP says it.

use http::StatusCode;
use tokio::task::JoinError;

use crate::{
    agent::{
        control::protocol::ParseError,
        error::{AgentError, ErrorKind, RoomError},
    },
    datapath::DatapathError,
};

/// Why a request is not answered.
pub(in crate::agent::control) struct ApiError {
    pub(in crate::agent::control) status: StatusCode,
    pub(in crate::agent::control) error: String,
    pub(in crate::agent::control) hint: Option<String>,
}

impl ApiError {
    pub(in crate::agent::control) fn bad_request(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into(), hint: None }
    }

    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.into(), hint: None }
    }
}

impl ApiError {
    /// An answer that cannot be put into JSON.
    /// The thread that worked on it has ended.
    pub(super) fn lost(error: JoinError) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: error.to_string(), hint: None }
    }

    pub(super) fn unwritable(error: serde_json::Error) -> Self {
        let error = format!("the answer cannot be written: {error}");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error, hint: None }
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Unknown(why) => Self::not_found(why),
            ParseError::Malformed(why) => Self::bad_request(why),
        }
    }
}

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        let status = match error.kind() {
            ErrorKind::Refused => StatusCode::CONFLICT,
            ErrorKind::Kernel => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

impl<E: RoomError> From<E> for ApiError {
    fn from(error: E) -> Self {
        AgentError::from(error).into()
    }
}

impl From<&DatapathError> for ApiError {
    fn from(error: &DatapathError) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: error.to_string(), hint: error.hint() }
    }
}
