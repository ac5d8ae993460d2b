//! A node's part in the birth of a cluster: its entry, and its signature under the roster.

use crate::config::Config;
use crate::run::RunError;
use crate::token::Token;
use bytes::Bytes;
use prost::Message;
use std::path::{Path, PathBuf};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::roster::{RosterDraft, RosterError};
use symbolon_wire::statements::roster_signature;
use symbolon_wire::v1;

/// Why a node takes no part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenesisError {
    /// Token or configuration.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The roster is refused before it is signed.
    #[error("node {node} does not sign this roster: {reason}")]
    Refused {
        /// This node.
        node: u16,
        /// Why.
        reason: RosterError,
    },
    /// What the roster says of this node is not so.
    #[error("node {node} does not sign this roster: it names another {what} for this node")]
    NotThisNode {
        /// This node.
        node: u16,
        /// Identity key, sealing key, region or address.
        what: &'static str,
    },
}

/// Makes the node's keys and writes its public entry.
pub(crate) fn prepare(config: &Config, out: &Path) -> Result<(), GenesisError> {
    let token = Token::open(config).map_err(RunError::from)?;
    let (identity, sealing) = token.prepare(&config.data).map_err(RunError::from)?;
    let entry = format!(
        "# Node {} of a Symbolon cluster: public, for `symbolon init`.\n# Fingerprints, as `symbolon init sign` shows them: identity {}, sealing {}\nindex = {}\nregion = {:?}\naddress = {:?}\nidentity_key = \"{}\"\nsealing_key = \"{}\"\n",
        config.node,
        hex::encode(sha256(&identity)),
        hex::encode(sha256(&sealing)),
        config.node,
        config.region,
        config.advertised(),
        hex::encode(identity),
        hex::encode(sealing),
    );
    std::fs::write(out, entry).map_err(|reason| GenesisError::File {
        path: out.to_owned(),
        reason,
    })
}

/// Signs a roster for this node, after checking the operators' signatures, placement, sizes, order, and what it says of
/// this node.
pub(crate) fn sign(config: &Config, path: &Path) -> Result<(), GenesisError> {
    let failed = |reason| GenesisError::File {
        path: path.to_owned(),
        reason,
    };
    let encoded: Bytes = std::fs::read(path).map_err(failed)?.into();
    let refused = |reason| GenesisError::Refused {
        node: config.node,
        reason,
    };
    let draft = RosterDraft::parse(encoded, &AwsLc).map_err(refused)?;
    let token = Token::open(config).map_err(RunError::from)?;
    token.verify().map_err(RunError::from)?;
    let wrong = |what| GenesisError::NotThisNode {
        node: config.node,
        what,
    };
    let entry = draft.node(config.node).ok_or_else(|| wrong("index"))?;
    let identity = token.root.public_key(&token.identity).map_err(RunError::from)?;
    if identity != entry.identity.spki() {
        return Err(wrong("identity key"));
    }
    if entry.region != config.region {
        return Err(wrong("region"));
    }
    if entry.address != config.advertised() {
        return Err(wrong("address"));
    }
    let sealing = token.sealing_key(&config.data).map_err(RunError::from)?;
    if entry.sealing_key.as_ref() != sealing.as_slice() {
        return Err(wrong("sealing key"));
    }
    let signature = token
        .root
        .sign(&token.identity, &roster_signature(&draft.hash()))
        .map_err(RunError::from)?;
    let signed = v1::NodeSignature {
        node: config.node.into(),
        signature: Bytes::copy_from_slice(&signature),
    };
    std::fs::write(path, draft.with_node(signed).encode_to_vec()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::epoch_keys;
    use rand_core::SeedableRng;
    use std::sync::Arc;
    use symbolon_crypto::provider::AwsLc;
    use symbolon_crypto::secret::Secret;
    use symbolon_store::{MemoryDisk, Options, Store};

    #[tokio::test]
    async fn a_node_that_is_prepared_again_shows_the_same_entry_until_it_has_run() {
        let folder = tempfile::tempdir().unwrap();
        let text = "node = 1\ndata = \"data\"\nlisten = \"127.0.0.1:7601\"\nregion = \"north\"\ndevelopment = true\n\
                    [token]\nkind = \"software\"\nfolder = \"token\"\n";
        let file = folder.path().join("node.toml");
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        // Its keys are made, and what is public of them cannot be written.
        let refused = prepare(&config, &folder.path().join("nowhere/node-1.toml")).unwrap_err();
        assert!(matches!(refused, GenesisError::File { .. }), "{refused}");
        let entries = ["first", "again"].map(|name| {
            let out = folder.path().join(name);
            prepare(&config, &out).unwrap();
            std::fs::read_to_string(out).unwrap()
        });
        assert_eq!(entries[0], entries[1]);

        let token = Token::open(&config).unwrap();
        token
            .state_key(&config.data, symbolon_wire::ids::ClusterId([1; 16]), 1)
            .unwrap();
        let rng = Box::new(rand_chacha::ChaCha20Rng::from_seed([1; 32]));
        let state_key = Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(7));
        let store =
            Store::open_in_memory(&MemoryDisk::default(), Options::new(state_key, Arc::new(AwsLc), rng)).unwrap();
        let keys = config.data.join("keys");
        let before = std::fs::read(&keys).unwrap();
        for first_start_was_cut in [false, true] {
            if first_start_was_cut {
                std::fs::write(&keys, &before).unwrap();
            }
            epoch_keys(&config, &store, &token, 0).await.unwrap();
            let refused = prepare(&config, &folder.path().join("later")).unwrap_err();
            assert!(
                refused.to_string().contains("belongs to a cluster already"),
                "{refused}"
            );
        }
        std::fs::remove_file(keys).unwrap();
        let refused = prepare(&config, &folder.path().join("later")).unwrap_err();
        assert!(refused.to_string().contains("symbolon-node restore"), "{refused}");
    }
}
