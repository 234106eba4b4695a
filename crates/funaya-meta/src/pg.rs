//! PostgreSQL: a pool, and transactions that run again on serialization failure.

use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use funaya_ports::{Fut, StoreError, meta};

use crate::driver::{Lease, Tx, pg_error};

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
                    Err(meta::Error::Store(StoreError::Busy(_))) if attempt < TRIES_MAX => pause(attempt).await,
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
        let mut tx = Tx::Pg(Lease::for_reads(client(&self.pool).await?));
        work(command, &mut tx).await
    }

    /// Runs several statements as one transaction; again, if replicas got into each other's way.
    pub(crate) async fn batch(&self, text: &str) -> meta::Result<()> {
        for attempt in 0.. {
            let lease = Lease::begin(client(&self.pool).await?, Isolation::ReadCommitted.begin()).await?;
            let outcome = lease.run(text).await;
            let ended = lease.end(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
            match outcome.and(ended) {
                Err(meta::Error::Store(StoreError::Busy(_))) if attempt < TRIES_MAX => pause(attempt).await,
                outcome => return outcome,
            }
        }
        Ok(())
    }
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(1 << attempt.min(6))).await;
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
    let mut tx = Tx::Pg(Lease::begin(client(pool).await?, isolation.begin()).await?);
    let outcome = work(command, &mut tx).await;
    let Tx::Pg(lease) = tx else { return outcome };
    let ended = lease.end(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    outcome.and_then(|value| ended.map(|()| value))
}

#[cfg(test)]
mod tests {
    use funaya_ports::meta::Refusal;
    use funaya_testkit::start_postgres;

    use super::*;
    use crate::driver::Statement;

    static ADD: Statement = Statement::new("INSERT INTO things (id) VALUES ($1)");
    static COUNT: Statement = Statement::new("SELECT count(*) FROM things");

    async fn count(pg: &Pg) -> i64 {
        let row = pg.read(&(), |(), tx| Box::pin(async move { tx.one(&COUNT, &[]).await })).await.unwrap();
        row.unwrap().int(0).unwrap()
    }

    /// A transaction that ends in any other way than well leaves nothing behind,
    /// not even for the next one on its connection.
    #[tokio::test]
    async fn only_what_ends_well_stays() {
        let database = start_postgres();
        let pg = Pg::open(database.url(), Isolation::ReadCommitted).unwrap();
        pg.batch("CREATE TABLE things (id BIGINT PRIMARY KEY)").await.unwrap();
        for id in 0..9 {
            let outcome = pg
                .write(id, |id, tx| {
                    Box::pin(async move {
                        tx.exec(&ADD, &[(*id).into()]).await?;
                        match id % 3 {
                            0 => Ok(()),
                            1 => Err(Refusal::NothingNew.into()),
                            _ => panic!("on purpose"),
                        }
                    })
                })
                .await;
            assert_eq!(outcome.is_ok(), id % 3 == 0, "{outcome:?}");
            assert_eq!(count(&pg).await, id / 3 + 1);
        }
        pg.batch("CREATE TABLE things (id BIGINT PRIMARY KEY)").await.unwrap_err();
        assert_eq!(count(&pg).await, 3);
    }
}
