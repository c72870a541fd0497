//! For tests: an engine on a store of its own, without packages, images or a sandbox.

use std::io::Read;
use std::path::Path;

use anyarch_debian::{Fetch, FetchError, Fetched};
use anyarch_oci::{Descriptor, EndpointError, ImageSource, Reference};
use anyarch_store::Store;

use crate::engine::Engine;
use crate::host::Host;

struct Nothing;

impl Fetch for Nothing {
    fn get(&self, _: &str, _: u64) -> Result<Fetched, FetchError> {
        Err(FetchError::NotFound)
    }
}

fn nothing<T>(reference: &Reference) -> Result<T, EndpointError> {
    let message = format!("{reference} is nowhere");
    Err(EndpointError { message, hint: None, not_found: true, source: None })
}

impl ImageSource for Nothing {
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError> {
        nothing(reference)
    }

    fn blob(
        &self,
        reference: &Reference,
        _: &Descriptor,
        _: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError> {
        nothing(reference)
    }
}

/// An engine whose store is in a folder. Owners are left as they come out, as for any user.
pub(crate) fn engine(folder: &Path) -> Engine {
    Engine {
        store: Store::open(folder).unwrap(),
        host: Host {
            cores: 1,
            single_id: true,
            boot_id: "this boot".to_owned(),
            ..Host::default()
        },
        fetch: Box::new(Nothing),
        images: Box::new(Nothing),
    }
}
