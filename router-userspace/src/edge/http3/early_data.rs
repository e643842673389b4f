//! Requests that come before their connection's handshake is complete (RFC 8470).

use tokio::sync::watch;

/// Whether a connection's handshake has been completed.
#[derive(Clone, Debug)]
pub struct Handshake(watch::Receiver<Option<bool>>);

impl Handshake {
    /// Not yet known; to be told by the other half. Without a word it has failed.
    pub fn pending() -> (watch::Sender<Option<bool>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// It has been.
    pub fn complete() -> Self {
        Self(watch::channel(Some(true)).1)
    }

    /// Whether it has been by now.
    pub fn is_completed(&self) -> bool {
        *self.0.borrow() == Some(true)
    }

    /// Waits for it; whether it came.
    pub async fn completed(&self) -> bool {
        let mut outcome = self.0.clone();
        outcome.wait_for(Option::is_some).await.is_ok_and(|known| *known == Some(true))
    }
}
