//! Why a listener has no TLS.

use crate::config::certificates::CertificateError;

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Names the file.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Of a certificate that was read well, but isn't one.
    #[error("{file} is not a certificate that names can be read from: {source}")]
    Names {
        /// The certificate's file.
        file: String,
        /// What the parser says.
        source: webpki::Error,
    },
    /// No certificate could be made up.
    #[error("a self-signed certificate could not be made: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}
