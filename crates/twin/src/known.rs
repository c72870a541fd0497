//! Files that were looked at, by what they are known by.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyarch_handler::layout::Identity;

use crate::elf::{self, Looked};

/// Files that were looked at before; to be kept for as long as several trees are proven.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<Identity, Arc<Looked>>>);

impl Known {
    pub(crate) fn look(&self, file: &mut File) -> io::Result<(Identity, Arc<Looked>)> {
        let identity = elf::identity(file)?;
        // The device number of an overlay changes with every mount.
        let key = Identity { dev: 0, ..identity };
        let known =
            |this: &Known| this.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(looked) = known(self) {
            return Ok((identity, looked));
        }
        let looked = Arc::new(elf::look(file)?.0);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, looked.clone());
        Ok((identity, looked))
    }
}
