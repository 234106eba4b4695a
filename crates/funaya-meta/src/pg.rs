//! PostgreSQL: a pool, and transactions that run again on serialization failure.

use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use funaya_ports::{Fut, StoreError, meta};

use crate::driver::{Tx, pg_error};

const CONNECTIONS_MAX: usize = 16;
const TRIES_MAX: u32 = 12;

pub(crate) struct Pg {
    pool: Pool,
    isolation: Isolation,
}

/// Under which isolation transactions run. READ COMMITTED is enough; the others
/// exist so that tests can show that nothing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// PostgreSQL's default.
    ReadCommitted,
    /// Snapshot isolation.
    RepeatableRead,
    /// Serializable.
    Serializable,
}

impl Isolation {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

impl Pg {
    pub(crate) fn open(url: &str, isolation: Isolation) -> meta::Result<Self> {
        let config = tokio_postgres::Config::from_str(url).map_err(pg_error)?;
        let manager = Manager::from_config(
            config,
            tokio_postgres::NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .build()
            .map_err(|error| StoreError::Failed(error.into()))?;
        Ok(Self { pool, isolation })
    }

    pub(crate) async fn write<C, T>(
        &self,
        command: C,
        work: for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, meta::Result<T>>,
    ) -> meta::Result<T>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (pool, isolation, command) = (self.pool.clone(), self.isolation, Arc::new(command));
        // A task of its own: a caller that goes away must not leave a transaction open.
        let task = tokio::spawn(async move {
            for attempt in 0.. {
                match try_once(&pool, isolation, &*command, work).await {
                    Err(meta::Error::Store(StoreError::Busy(_))) if attempt < TRIES_MAX => {
                        tokio::time::sleep(Duration::from_millis(1 << attempt.min(6))).await;
                    }
                    outcome => return outcome,
                }
            }
            Err(StoreError::failed("unreachable").into())
        });
        task.await.map_err(|error| StoreError::Failed(error.into()))?
    }

    pub(crate) async fn read<C, T>(
        &self,
        command: &C,
        work: for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, meta::Result<T>>,
    ) -> meta::Result<T> {
        let mut tx = Tx::Pg(client(&self.pool).await?);
        work(command, &mut tx).await
    }

    pub(crate) async fn batch(&self, text: &str) -> meta::Result<()> {
        client(&self.pool).await?.batch_execute(text).await.map_err(pg_error)
    }
}

async fn client(pool: &Pool) -> meta::Result<deadpool_postgres::Object> {
    Ok(pool.get().await.map_err(|error| StoreError::Failed(error.into()))?)
}

async fn try_once<C, T>(
    pool: &Pool,
    isolation: Isolation,
    command: &C,
    work: for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, meta::Result<T>>,
) -> meta::Result<T> {
    let client = client(pool).await?;
    client.batch_execute(isolation.begin()).await.map_err(pg_error)?;
    let mut tx = Tx::Pg(client);
    let outcome = work(command, &mut tx).await;
    let Tx::Pg(client) = tx else { return outcome };
    let ended = client.batch_execute(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    if let Err(error) = ended {
        // Unknown state: never hand this connection to anybody else.
        drop(deadpool_postgres::Object::take(client));
        return outcome.and(Err(pg_error(error)));
    }
    outcome
}
