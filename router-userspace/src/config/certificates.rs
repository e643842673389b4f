//! Certificates and keys from their files. The configuration is checked with the same function
//! that the listeners load them with, so what passed the one can't fail the other unless the
//! files change in between.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls::{InconsistentKeys, RootCertStore, crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::CertificateFiles;

/// Why a certificate can't be presented. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Missing, or not ours to read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No PEM block `CERTIFICATE`.
    #[error("{} holds no PEM certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No PEM block with a private key, or only an encrypted one.
    #[error("{} holds no unencrypted PEM private key (PKCS#8, PKCS#1 or SEC1)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// PEM that breaks off or isn't base64.
    #[error("{} is damaged PEM: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: pem::Error,
    },
    /// The PEM block is sound, its content is not, or of a kind that TLS here can't use.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The TLS library's reason.
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("{} is not the key of {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// Reads the chain and the key and makes sure that they belong together. Validity dates and names
/// are not judged: that is the clients' part.
pub fn load(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let chain = chain(&files.cert)?;
    let key = key(&files.key)?;
    let key = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(key)
        .map_err(|source| CertificateError::Unusable { path: files.key.clone(), source })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Unknown: a key that can't tell its public half; nothing speaks against it.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(CertificateError::Mismatch { cert: files.cert.clone(), key: files.key.clone() })
        }
        Err(source) => Err(CertificateError::Unusable { path: files.cert.clone(), source }),
    }
}

/// Authorities to trust, at least one.
pub struct Authorities {
    /// What is trusted of them.
    pub roots: RootCertStore,
    /// Their certificates, in the order of the file.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The authorities in a PEM file.
///
/// # Errors
/// Names the file.
pub fn authorities(path: &Path) -> Result<Authorities, CertificateError> {
    let certificates = chain(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|source| CertificateError::Unusable { path: path.to_owned(), source })?;
    }
    Ok(Authorities { roots, certificates })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateError::NoCertificate { path: path.to_owned() }),
        Ok(chain) => Ok(chain),
        Err(source) => Err(CertificateError::Pem { path: path.to_owned(), source }),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey { path: path.to_owned() },
        source => CertificateError::Pem { path: path.to_owned(), source },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Folder, *};

    #[test]
    fn loads_what_belongs_together_and_names_what_does_not() {
        let folder = Folder::new();
        let ours = folder.certificate("ours");
        let theirs = folder.certificate("theirs");
        assert_eq!(load(&ours).unwrap().cert.len(), 1);

        let text = folder.file("text.pem", "not PEM at all\n");
        let damaged = folder.file("damaged.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
        let hollow = folder.file("hollow.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let hollow_key = folder.file("hollow.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let absent = folder.path("absent.pem");

        let with_cert = |cert: &Path| CertificateFiles { cert: cert.to_owned(), key: ours.key.clone() };
        let with_key = |key: &Path| CertificateFiles { cert: ours.cert.clone(), key: key.to_owned() };
        for (files, culprit, why) in [
            (with_cert(&absent), &absent, "cannot be read: No such file"),
            (with_key(&absent), &absent, "cannot be read: No such file"),
            (with_cert(&text), &text, "holds no PEM certificate"),
            (with_key(&text), &text, "holds no unencrypted PEM private key"),
            (with_key(&ours.cert), &ours.cert, "holds no unencrypted PEM private key"),
            (with_cert(&ours.key), &ours.key, "holds no PEM certificate"),
            (with_cert(&damaged), &damaged, "is damaged PEM"),
            (with_cert(&hollow), &hollow, "cannot be used"),
            (with_key(&hollow_key), &hollow_key, "cannot be used"),
            (with_key(&theirs.key), &theirs.key, "is not the key of"),
        ] {
            let error = load(&files).unwrap_err().to_string();
            assert!(error.starts_with(&culprit.display().to_string()), "{error}");
            assert!(error.contains(why), "{error}: not {why}");
        }
    }

    #[test]
    fn authorities_come_from_one_file() {
        let folder = Folder::new();
        let (one, other) = (folder.certificate("one"), folder.certificate("other"));
        let both = [&one, &other].map(|files| fs::read_to_string(&files.cert).unwrap()).concat();
        assert_eq!(authorities(&one.cert).unwrap().roots.len(), 1);
        assert_eq!(authorities(&folder.file("both.pem", &both)).unwrap().roots.len(), 2);

        let hollow = folder.file("hollow.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (path, why) in [
            (&folder.path("absent.pem"), "cannot be read: No such file"),
            (&one.key, "holds no PEM certificate"),
            (&hollow, "cannot be used"),
        ] {
            let error = authorities(path).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} {why}", path.display())), "{error}");
        }
    }
}
