//! A throw-away certificate authority for `up`, `demo` and tests, and the identities it issues.
//!
//! Production certificates come from the organisations' own authorities as PEM files; only the reading
//! half of this module serves them. The issuing half draws its own randomness and must not be used by a
//! service.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::HexBytes;
use crate::signature::SoftwareSigner;

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Issue(#[from] rcgen::Error),
    /// A PEM text could not be read.
    #[error("a PEM text could not be read")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// A certificate or key does not serve TLS.
    #[error("the certificate and key do not serve TLS")]
    Tls(#[from] rustls::Error),
    /// The authorities for client certificates are unusable.
    #[error("the authorities for client certificates are unusable")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A message key could not be read.
    #[error("the message key could not be read")]
    MessageKey(#[from] p256::pkcs8::Error),
}

/// A throw-away authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority.
    pub fn generate(name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { certificate: der, pem, issuer: Issuer::new(params, key) })
    }

    /// The authority's certificate in PEM, for other processes.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The trust in this authority alone.
    pub fn trust(&self) -> Result<Trust, PkiError> {
        Trust::from_certificates([self.certificate.clone()])
    }

    /// Issues a certificate for a role that serves and calls under `localhost` and `name`.
    pub fn issue(&self, name: &str) -> Result<TlsIdentity, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        TlsIdentity::from_pem(&certificate.pem(), &key.serialize_pem())
    }
}

/// Whom to trust: pinned authorities, never the system's.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RootCertStore>);

impl Trust {
    /// Trusts the authorities in a PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        Self::from_certificates(certificates?)
    }

    fn from_certificates(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, PkiError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate)?;
        }
        Ok(Self(Arc::new(roots)))
    }
}

/// A certificate with its key.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: (String, String),
}

impl TlsIdentity {
    /// Reads certificate chain and key in PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, PkiError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        Ok(Self { chain: certificates?, key: private, pem: (chain.to_owned(), key.to_owned()) })
    }

    /// Chain and key in PEM, for other processes.
    pub fn to_pem(&self) -> (&str, &str) {
        (&self.pem.0, &self.pem.1)
    }

    /// SHA-256 of the certificate, under which an institution is registered.
    pub fn fingerprint(&self) -> HexBytes {
        self.chain.first().map(|certificate| fingerprint(certificate)).unwrap_or_default()
    }

    /// TLS 1.2 and 1.3 for a server that asks for a client certificate of `clients` and takes callers
    /// without one: what such a caller may do is the endpoint's question.
    pub fn server_config(&self, clients: &Trust) -> Result<Arc<ServerConfig>, PkiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(clients.0.clone(), provider.clone())
                .allow_unauthenticated()
                .build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        Ok(Arc::new(config))
    }

    /// TLS for a client that shows this certificate.
    pub fn client_config(&self, servers: &Trust) -> Result<Arc<ClientConfig>, PkiError> {
        let config =
            client_builder(servers)?.with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("fingerprint", &self.fingerprint().to_string())
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a certificate.
pub fn fingerprint(certificate: &[u8]) -> HexBytes {
    HexBytes(Sha256::digest(certificate).to_vec())
}

/// TLS for a client without a certificate: the wallet.
pub fn wallet_config(servers: &Trust) -> Result<Arc<ClientConfig>, PkiError> {
    Ok(Arc::new(client_builder(servers)?.with_no_client_auth()))
}

fn client_builder(
    servers: &Trust,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, PkiError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(servers.0.clone()))
}

/// A key for signing messages, in PEM.
pub struct SigningIdentity {
    pem: String,
}

impl SigningIdentity {
    /// Makes a key.
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self { pem: KeyPair::generate()?.serialize_pem() })
    }

    /// Reads a key in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        SoftwareSigner::from_pem(pem)?;
        Ok(Self { pem: pem.to_owned() })
    }

    /// The key in PEM, for other processes.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The signer.
    pub fn signer(&self) -> Result<SoftwareSigner, PkiError> {
        Ok(SoftwareSigner::from_pem(&self.pem)?)
    }
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningIdentity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_pem() {
        let authority = Authority::generate("test authority").unwrap();
        let identity = authority.issue("se-tsm").unwrap();
        let (chain, key) = identity.to_pem();
        let again = TlsIdentity::from_pem(chain, key).unwrap();
        assert_eq!(again.fingerprint(), identity.fingerprint());
        let trust = Trust::from_pem(authority.to_pem()).unwrap();
        again.server_config(&trust).unwrap();
        again.client_config(&trust).unwrap();
        assert!(TlsIdentity::from_pem("", key).unwrap().server_config(&trust).is_err());
        assert!(TlsIdentity::from_pem(chain, "").is_err());
    }
}
