//! Freeing what a run holds of an endpoint, from its note alone: after the run, in a later process after one that was
//! killed, and where it could not be brought up.

use plugin_api::{Error, ErrorKind, Held, HttpRequest, Io, Level, Reply, Result};

use crate::{
    life::Life,
    management::{self, Note},
    wait::Patience,
};

/// Time in which an endpoint that seems free already is looked at again, in seconds. The request that makes or resumes
/// one may have been cut off just before, and be carried out yet.
const SETTLING_S: u32 = 10;

impl Life<'_> {
    /// Frees every endpoint that is noted.
    ///
    /// # Errors
    /// The first failure, after all were tried. What could not be freed stays noted.
    pub async fn release(&self, held: &[Held], io: &Io) -> Result<()> {
        let mut first = Ok(());
        for held in held {
            let freed = match read_note(held) {
                Ok(note) => self.free(&note, io).await,
                Err(error) => Err(error),
            };
            match freed {
                Ok(()) => io.free(&held.name).await?,
                Err(error) => {
                    self.host.log(Level::Error, &format!("`{}` is not freed: {error}", held.name));
                    first = first.and(Err(error));
                }
            }
        }
        first
    }

    /// Frees what is held of an endpoint that did not come up, and says so if that fails.
    pub(crate) async fn given_up(&self, mut error: Error, note: Option<&Note>, io: &Io) -> Error {
        let Some(note) = note else { return error };
        let freed = match self.free(note, io).await {
            Ok(()) => io.free(&note.held_name()).await,
            Err(error) => Err(error),
        };
        if let Err(other) = freed {
            error.message = format!(
                "{}; and the endpoint is not freed, it stays noted: {other}",
                error.message
            );
        }
        error
    }

    /// Does what a note says; an endpoint that is gone is free.
    async fn free(&self, note: &Note, io: &Io) -> Result<()> {
        let Note { namespace, name, on_finish, repository } = note;
        let mut settling = Patience::new(io, SETTLING_S, self.poll_interval_s);
        let now = loop {
            match self.look_at(namespace, name, io).await? {
                Some(now) if !on_finish.is_done(now.state) => break now,
                // Gone, or as it shall be.
                _ if !settling.wait(io).await => return Ok(()),
                _ => {}
            }
        };
        if let (Some(noted), Some(serves)) = (repository, &now.repository)
            && noted != serves
        {
            let text = format!(
                "`{namespace}/{name}` serves `{serves}` and not `{noted}`: it is not the one that was noted, and \
                 is left alone"
            );
            self.host.log(Level::Warn, &text);
            return Ok(());
        }
        let Some(route) = on_finish.route() else {
            return self.delete(namespace, name, io).await;
        };
        let call = HttpRequest::post(self.route(namespace, name, route));
        gone_or_done(&io.send(self.api.dress(call)).await?)
    }

    /// Deletes it; one that is gone is deleted.
    pub(crate) async fn delete(&self, namespace: &str, name: &str, io: &Io) -> Result<()> {
        let call = HttpRequest::delete(self.route(namespace, name, ""));
        gone_or_done(&io.send(self.api.dress(call)).await?)
    }
}

fn gone_or_done(reply: &Reply) -> Result<()> {
    if reply.is_success() || reply.status == 404 {
        return Ok(());
    }
    Err(management::refused(reply))
}

/// Reads a note that this plugin wrote, in this process or in an earlier one.
///
/// # Errors
/// It is none.
pub(crate) fn read_note(held: &Held) -> Result<Note> {
    serde_json::from_value(held.note.clone()).map_err(|error| {
        Error::new(
            ErrorKind::Other,
            format!(
                "the note of `{}` is none of this plugin's ({error}): look at \
                 https://endpoints.huggingface.co and free it by hand",
                held.name
            ),
        )
    })
}
