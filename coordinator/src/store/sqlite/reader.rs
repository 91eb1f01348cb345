//! Owns reading: a few connections of their own, used on blocking threads, so that reads neither wait for a commit nor
//! hold up the service's threads.
//!
//! Must not: write. Each connection is told to refuse it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::rows::RowError;
use super::schema;
use crate::store::error::StoreError;

/// Reads at the same time. The coordinator keeps its picture in memory and reads the store when it starts and when
/// somebody asks for the past: more would only take turns on the same disk.
const READERS_MAX: usize = 4;

/// Connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Vec::new()), places: Semaphore::new(READERS_MAX) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close(&self) {
        self.places.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs `query` on one of the connections.
    pub(super) fn read<T, Q>(
        self: &Arc<Self>,
        query: Q,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, Q>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, RowError> + Send + 'static,
    {
        let readers = Arc::clone(self);
        async move {
            let _place = readers.places.acquire().await.map_err(|_| StoreError::Closed)?;
            let own = Arc::clone(&readers);
            let task = tokio::task::spawn_blocking(move || {
                let connection = own.connection()?;
                let result = query(&connection)?;
                own.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Ok(result)
            });
            let result = task.await.map_err(|_| StoreError::Closed)?;
            result.map_err(|error| store_error(&readers.path, error))
        }
    }

    fn connection(&self) -> Result<Connection, RowError> {
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        Ok(schema::connect_to_read(&self.path)?)
    }
}

fn store_error(path: &Path, error: RowError) -> StoreError {
    match error {
        RowError::Damaged { key, reason } => StoreError::Damaged { key, reason },
        RowError::Engine(source) => {
            let busy = matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
            let (path, source) = (path.to_owned(), Arc::new(source));
            if busy { StoreError::Busy { path, source } } else { StoreError::Read { path, source } }
        }
    }
}
