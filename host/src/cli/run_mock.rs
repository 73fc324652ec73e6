//! The mock of a run: stands for the servers of all backends whose `base_url` is `mock:FLAVOR`, from the first of
//! them until the run is over.

use std::cell::OnceCell;

use url::Url;

use crate::{
    mock::{Flavor, Server, Settings},
    run::mock::Mock,
};

/// Where the mock is said to be in a run that asks no server: nobody ever connects there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A mock that is started when it is needed.
#[derive(Debug, Default)]
pub(super) struct RunMock {
    server: OnceCell<Server>,
    is_absent: bool,
}

impl RunMock {
    /// A mock that is never started, for a run that asks no server.
    pub(super) fn absent() -> Self {
        Self { is_absent: true, ..Self::default() }
    }
}

impl Mock for RunMock {
    fn flavors(&self) -> Vec<String> {
        Flavor::ALL.iter().map(|flavor| flavor.name().to_owned()).collect()
    }

    fn origin(&self) -> Result<Url, String> {
        if self.is_absent {
            return Url::parse(NOWHERE).map_err(|error| error.to_string());
        }
        let server = match self.server.get() {
            Some(server) => server,
            None => {
                let server =
                    Server::start(Settings::default()).map_err(|error| error.to_string())?;
                self.server.get_or_init(|| server)
            }
        };
        Url::parse(&server.url()).map_err(|error| error.to_string())
    }
}
