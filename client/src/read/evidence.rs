//! What a read must never leave behind: data key and fragments, handed to a caller that looks for them on disks, in logs
//! and in core dumps. Only with the feature `evidence`, which no release has.

use super::rounds::ask;
use super::{Opened, Reading};
use crate::client::Client;
use crate::error::Error;
use crate::node::Failure;
use symbolon_crypto::secret::{Secret, SecretBytes};
use symbolon_wire::Code;

/// The data key of one version, and every node's fragment of it.
#[derive(Debug)]
pub struct KeyMaterial {
    /// The AES-256-GCM key of the value.
    pub data_key: Secret<32>,
    /// Node index and its fragment, s_i ‖ γ_i, of all n nodes.
    pub fragments: Vec<(u16, SecretBytes)>,
}

impl Client {
    /// As [`Client::get`], and then the fragments of all n nodes, each a release of its own.
    ///
    /// # Errors
    /// As [`Client::get`]; the error of the first node that does not answer.
    pub async fn get_with_evidence(
        &self,
        path: &str,
        version: Option<u64>,
        purpose: &str,
    ) -> Result<(Opened, KeyMaterial), Error> {
        let mut reading = Reading::new(&self.inner, path, version, purpose)?;
        let opened = reading.run().await?;
        let missing = || Error::new(Code::Internal, "a value was opened without a key");
        let data_key = reading.data_key.take().ok_or_else(missing)?;
        reading.request.version = opened.version;
        let requests = reading.requests(0);
        let within = self.inner.net.options.request_timeout;
        let mut fragments = Vec::with_capacity(self.inner.nodes.len());
        for node in &self.inner.nodes {
            let reply = ask(node.clone(), &requests, false, within)
                .await
                .map_err(Failure::into_error)?;
            fragments.push((reply.node, SecretBytes::copy_from(reply.fragment.expose())));
        }
        Ok((opened, KeyMaterial { data_key, fragments }))
    }
}
