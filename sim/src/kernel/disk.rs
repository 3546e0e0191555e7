//! The disk of a simulated host: what survives a crash, and what may not.
//!
//! A flat directory of files. What is written is in the host's memory until it is synced; when the power goes, of the
//! changes since then any number of the oldest ones have reached the disk, and of the next one, if it appended
//! bytes, any part. That is what a journalling file system promises for one file; real ones also reorder writes to
//! different files, and so does this.

use std::collections::BTreeMap;

use super::env::Env;
use crate::choice::ChoiceKind;

/// A change that a file may lose.
#[derive(Clone, Debug)]
enum Change {
    /// The whole content, at once: written aside and renamed.
    Replace(Vec<u8>),
    /// Bytes at the end.
    Append(Vec<u8>),
    Remove,
}

impl Change {
    fn apply(self, content: &mut Option<Vec<u8>>) {
        match self {
            Change::Replace(bytes) => *content = Some(bytes),
            Change::Append(bytes) => content.get_or_insert_default().extend(bytes),
            Change::Remove => *content = None,
        }
    }
}

/// One file.
#[derive(Clone, Debug, Default)]
struct Stored {
    /// What the disk has, if the file exists there.
    durable: Option<Vec<u8>>,
    /// What the process sees.
    seen: Option<Vec<u8>>,
    /// How the one becomes the other.
    changes: Vec<Change>,
}

impl Stored {
    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.seen);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        self.changes.clear();
        self.durable.clone_from(&self.seen);
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<String, Stored>,
}

impl Disk {
    fn file(&mut self, name: &str) -> &mut Stored {
        self.files.entry(name.to_string()).or_default()
    }

    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.files.get(name)?.seen.clone()
    }

    pub(crate) fn replace(&mut self, name: &str, bytes: &[u8]) {
        self.file(name).change(Change::Replace(bytes.to_vec()));
    }

    pub(crate) fn append(&mut self, name: &str, bytes: &[u8]) {
        self.file(name).change(Change::Append(bytes.to_vec()));
    }

    /// Whether there was such a file.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let exists = self.files.get(name).is_some_and(|file| file.seen.is_some());
        if exists {
            self.file(name).change(Change::Remove);
        }
        exists
    }

    /// Whether there is such a file, or was since the last time.
    pub(crate) fn sync(&mut self, name: &str) -> bool {
        let file = self.files.get_mut(name);
        file.map(Stored::sync).is_some()
    }

    /// The names of the files, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let there = self.files.iter().filter(|(_, file)| file.seen.is_some());
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Everything is gone but what has reached the disk. The dullest disk has got all of it.
    pub(crate) fn lose_power(&mut self, env: &Env<'_>) {
        for file in self.files.values_mut() {
            let changes = std::mem::take(&mut file.changes);
            let n = u32::try_from(changes.len()).unwrap_or(u32::MAX - 1) + 1;
            let lost = if n > 1 { env.choose(ChoiceKind::DiskLoss, n) as usize } else { 0 };
            let kept = changes.len() - lost.min(changes.len());
            for (index, change) in changes.into_iter().enumerate() {
                match change {
                    change if index < kept => change.apply(&mut file.durable),
                    Change::Append(bytes) if index == kept && bytes.len() > 1 => {
                        let part = env.choose(ChoiceKind::DiskLoss, bytes.len() as u32) as usize;
                        Change::Append(bytes[..part].to_vec()).apply(&mut file.durable);
                    }
                    _ => break,
                }
            }
            file.seen.clone_from(&file.durable);
        }
    }
}
