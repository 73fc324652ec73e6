//! The mock of a run: stands for the servers of all backends whose `base_url` is `mock:FLAVOR`, from the first of
//! them until the run is over.

use std::cell::OnceCell;

use url::Url;

use crate::{
    mock::{Flavor, Server, Settings},
    run::mock::Mock,
};

/// A mock that is started when it is needed.
#[derive(Debug, Default)]
pub(super) struct RunMock {
    server: OnceCell<Server>,
}

impl Mock for RunMock {
    fn flavors(&self) -> Vec<String> {
        Flavor::ALL.iter().map(|flavor| flavor.name().to_owned()).collect()
    }

    fn origin(&self) -> Result<Url, String> {
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
