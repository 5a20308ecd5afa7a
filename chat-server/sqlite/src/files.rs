//! [`FileStore`]: descriptions of files, which messages have them, and what is to be looked at later.

use async_trait::async_trait;
use chat_domain::store::{
    FileHold, FileRow, FileStore, FileTask, FileWork, LEAST_CHARGED, StoreError, Stored,
};
use chat_protocol::{ChannelId, FileId, Millis, Seq, UserId};
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    codec::{self, FILE_COLUMNS, int, limit, uint},
};

/// Makes a file gone that no message has and nobody holds. A hold is a use like a message's, under the message's id. Whether it is gone, or was never there.
fn retire(db: &Connection, file: FileId) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "UPDATE files SET gone = 1
         WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM file_uses WHERE file = ?1 AND NOT released)",
    )?
    .execute([file.0.as_bytes()])?;
    Ok(!stands(db, file)?)
}

fn stands(db: &Connection, file: FileId) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM files WHERE id = ?1 AND NOT gone")?.exists([file.0.as_bytes()])
}

#[async_trait]
impl FileStore for SqliteStore {
    async fn put_file(&self, file: &FileRow) -> Result<(), StoreError> {
        let file = file.clone();
        self.write(move |db| {
            db.prepare_cached(&format!(
                "INSERT INTO files ({FILE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            ))?
            .execute(params![
                file.id.0.as_bytes(),
                file.channel.0.as_bytes(),
                file.owner.0.as_bytes(),
                file.name,
                file.media_type,
                int(file.size),
                file.sha256,
                int(file.created_at)
            ])?;
            Ok(())
        })
        .await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM files WHERE id = ?1 AND NOT gone");
        self.one(sql, (id.0.into_bytes(),), codec::file).await
    }

    async fn stored_by(&self, owner: UserId) -> Result<Stored, StoreError> {
        let stored = self
            .one(
                "SELECT coalesce(sum(max(size, ?2)), 0), count(*) - coalesce(sum(attached), 0)
                 FROM files WHERE owner = ?1 AND NOT gone",
                (owner.0.into_bytes(), int(LEAST_CHARGED)),
                |row| Ok(Stored { bytes: uint(row, 0)?, unattached: uint(row, 1)? }),
            )
            .await?;
        Ok(stored.unwrap_or_default())
    }

    async fn is_attached(&self, file: FileId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM file_uses WHERE file = ?1 AND NOT released LIMIT 1";
        Ok(self.one(sql, (file.0.into_bytes(),), |_| Ok(())).await?.is_some())
    }

    async fn hold(&self, files: &[FileRow], hold: FileHold) -> Result<Vec<FileId>, StoreError> {
        let files: Vec<FileId> = files.iter().map(|file| file.id).collect();
        self.write(move |db| {
            let mut gone = Vec::new();
            for file in files {
                if !stands(db, file)? {
                    gone.push(file);
                    continue;
                }
                db.prepare_cached(
                    "INSERT OR IGNORE INTO file_uses (file, channel, seq, released) VALUES (?1, ?2, ?3, 0)",
                )?
                .execute(params![file.0.as_bytes(), hold.id.0.as_bytes(), int(hold.due)])?;
            }
            Ok(gone)
        })
        .await
    }

    async fn let_go(&self, files: &[FileId], hold: FileHold) -> Result<Vec<FileId>, StoreError> {
        let files = files.to_vec();
        self.write(move |db| {
            let mut gone = Vec::new();
            for file in files {
                db.prepare_cached("DELETE FROM file_uses WHERE file = ?1 AND channel = ?2 AND seq = ?3")?
                    .execute(params![file.0.as_bytes(), hold.id.0.as_bytes(), int(hold.due)])?;
                let had = db
                    .prepare_cached("SELECT 1 FROM file_uses WHERE file = ?1 AND released")?
                    .exists([file.0.as_bytes()])?;
                if had && retire(db, file)? {
                    gone.push(file);
                }
            }
            Ok(gone)
        })
        .await
    }

    async fn attach(&self, files: &[FileRow], channel: ChannelId, seq: Seq) -> Result<(), StoreError> {
        let files: Vec<FileId> = files.iter().map(|file| file.id).collect();
        self.write(move |db| {
            for file in files {
                db.prepare_cached(
                    "INSERT OR IGNORE INTO file_uses (file, channel, seq, released)
                     SELECT id, ?2, ?3, 0 FROM files WHERE id = ?1",
                )?
                .execute(params![file.0.as_bytes(), channel.0.as_bytes(), int(seq)])?;
                db.prepare_cached("UPDATE files SET attached = 1 WHERE id = ?1")?
                    .execute([file.0.as_bytes()])?;
            }
            Ok(())
        })
        .await
    }

    async fn detach(
        &self,
        files: &[FileId],
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Vec<FileId>, StoreError> {
        let files = files.to_vec();
        self.write(move |db| {
            let mut gone = Vec::new();
            for file in files {
                db.prepare_cached(
                    "INSERT INTO file_uses (file, channel, seq, released) SELECT id, ?2, ?3, 1 FROM files WHERE id = ?1
                     ON CONFLICT DO UPDATE SET released = 1",
                )?
                .execute(params![file.0.as_bytes(), channel.0.as_bytes(), int(seq)])?;
                if retire(db, file)? {
                    gone.push(file);
                }
            }
            Ok(gone)
        })
        .await
    }

    async fn retire(&self, file: FileId) -> Result<bool, StoreError> {
        self.write(move |db| Ok(retire(db, file)?)).await
    }

    async fn erase_file(&self, file: FileId) -> Result<(), StoreError> {
        self.write(move |db| {
            db.execute("DELETE FROM file_uses WHERE file = ?1", [file.0.as_bytes()])?;
            db.execute("DELETE FROM files WHERE id = ?1 AND gone", [file.0.as_bytes()])?;
            Ok(())
        })
        .await
    }

    async fn add_file_work(&self, work: &[FileWork]) -> Result<(), StoreError> {
        let work = work.to_vec();
        self.write(move |db| {
            let sql = "INSERT OR IGNORE INTO file_work (due, file, task) VALUES (?1, ?2, ?3)";
            for FileWork { due, file, task } in work {
                db.prepare_cached(sql)?.execute(params![int(due), file.0.as_bytes(), task.encode()])?;
            }
            Ok(())
        })
        .await
    }

    async fn due_file_work(&self, now: Millis, most: usize) -> Result<Vec<FileWork>, StoreError> {
        let sql = "SELECT due, file, task FROM file_work WHERE due <= ?1 ORDER BY due LIMIT ?2";
        let rows = self
            .all(sql, (int(now), limit(most)), |row| {
                let task: Vec<u8> = row.get(2)?;
                Ok((uint(row, 0)?, FileId(codec::uuid(row, 1)?), FileTask::decode(&task)))
            })
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(due, file, task)| Some(FileWork { due, file, task: task? }))
            .collect())
    }

    async fn file_work_done(&self, work: &[FileWork]) -> Result<(), StoreError> {
        let work = work.to_vec();
        self.write(move |db| {
            let sql = "DELETE FROM file_work WHERE due = ?1 AND file = ?2 AND task = ?3";
            for FileWork { due, file, task } in work {
                db.prepare_cached(sql)?.execute(params![int(due), file.0.as_bytes(), task.encode()])?;
            }
            Ok(())
        })
        .await
    }
}
