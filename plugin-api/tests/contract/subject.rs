//! The backend under test: the prompt says what it does.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use plugin_api::*;

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) panic_open: bool,
    pub(crate) refuse: bool,
    pub(crate) strict: Option<Strict>,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Strict {
    #[allow(dead_code, reason = "read by serde alone")]
    pub(crate) count: u32,
}

pub(crate) struct Subject;

/// Something that another thread opens.
#[derive(Default)]
struct GateState {
    open: bool,
    waker: Option<Waker>,
}

static GATES: Mutex<Option<HashMap<String, Arc<Mutex<GateState>>>>> = Mutex::new(None);

fn gate(name: &str) -> Arc<Mutex<GateState>> {
    let mut gates = GATES.lock().unwrap();
    Arc::clone(gates.get_or_insert_default().entry(name.to_owned()).or_default())
}

/// Opens a gate and wakes who waits for it; from any thread.
pub(crate) fn open_gate(name: &str) {
    let gate = gate(name);
    let waker = {
        let mut state = gate.lock().unwrap();
        state.open = true;
        state.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The waker that waits at a gate, left in its place.
pub(crate) fn waker_at(name: &str) -> Option<Waker> {
    gate(name).lock().unwrap().waker.clone()
}

async fn pass(name: &str) {
    let gate = gate(name);
    poll_fn(|context| {
        let mut state = gate.lock().unwrap();
        if state.open {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

fn post(path: &str) -> HttpRequest<'static> {
    HttpRequest::post(format!("https://a.test/{path}")).bearer("api_key")
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.body()).into_owned()
}

impl Backend for Subject {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        assert!(!config.panic_open, "no open today");
        if config.refuse {
            return Err(Error::new(ErrorKind::Other, "base_url: refused"));
        }
        assert!(host.has_secret("api_key") || !host.has_secret("other"));
        Ok(Self)
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let prompt = request.prompt.as_text()?;
        let (mode, detail) = prompt.split_once(':').unwrap_or((prompt, ""));
        let answer = match mode {
            "say" => detail.to_owned(),
            "fail" => return Err(Error::new(ErrorKind::from(detail), "as told")),
            "send" => text(&io.send(post(detail).json(&json!({ "text": detail }))?).await?),
            "join" => {
                let calls = detail.split(',').map(|path| io.send(post(path)));
                let replies = join_all(calls).await;
                replies.into_iter().map(|r| Ok(text(&r?))).collect::<Result<Vec<_>>>()?.join("+")
            }
            "twice" => {
                let first = text(&io.send(post("first")).await?);
                first + &text(&io.send(post("second")).await?)
            }
            "stream" => stream(io).await?,
            "collect" => text(&io.stream(post("s")).await?.collect().await?),
            "wait" => {
                io.wait(Duration::from_millis(50)).await;
                "waited".to_owned()
            }
            "hold" => {
                io.hold(detail, &json!({ "delete": detail })).await?;
                io.free(detail).await?;
                "freed".to_owned()
            }
            "race" => race(io).await?,
            "again" => {
                for turn in 0..detail.parse().unwrap_or(3) {
                    io.delta(&format!("{turn}"));
                    io.again().await;
                }
                if io.cancelled() { "cancelled".to_owned() } else { "again".to_owned() }
            }
            "gate" => {
                pass(detail).await;
                "passed".to_owned()
            }
            "thread" => {
                let (io, name) = (io.clone(), detail.to_owned());
                let thread = std::thread::spawn(move || {
                    io.delta("from a thread");
                    open_gate(&name);
                });
                pass(detail).await;
                let _ = thread.join();
                "joined".to_owned()
            }
            "wake in a step" => {
                let mut asked = false;
                poll_fn(|context| {
                    if std::mem::replace(&mut asked, true) {
                        return Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    let _ = std::thread::spawn(move || waker.wake()).join();
                    Poll::Pending
                })
                .await;
                "woken in a step".to_owned()
            }
            "never" => std::future::pending().await,
            "panic" => panic!("at once"),
            "panic later" => {
                let _ = io.send(post("p")).await;
                panic!("after a reply");
            }
            "panic in drop" => {
                let _bomb = PanicsInDrop;
                text(&io.send(post("d")).await?)
            }
            "panic on a thread" => {
                let result = std::thread::spawn(|| panic!("on a thread of its own")).join();
                format!("{}", result.is_err())
            }
            "who" => format!("{} {} {:?}", io.request_id(), io.attempt(), io.deadline()),
            other => return Err(Error::unsupported(other)),
        };
        Ok(Completion::new(answer, "stop").with_usage(Some(1), Some(2)))
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, _: &Io) -> Result<Vec<Likelihood>> {
        let of = |text: &&str| Likelihood {
            logprob: text.is_ascii().then_some(-1.5),
            tokens: 1,
            ..Likelihood::default()
        };
        Ok(request.continuations.iter().map(of).collect())
    }

    async fn release(&self, held: &[Held], io: &Io) -> Result<()> {
        for resource in held {
            io.delta(&resource.note.to_string());
            io.free(&resource.name).await?;
        }
        Ok(())
    }

    async fn health(&self, _: &Io) -> Result<Health> {
        Ok(Health { ready: true, detail: String::new() })
    }
}

/// Passes on each event's data as a delta.
async fn stream(io: &Io) -> Result<String> {
    let mut stream = io.stream(post("s")).await?;
    if !stream.head().is_success() {
        return Err(stream.collect().await?.error());
    }
    let mut parser = SseParser::default();
    let mut whole = String::new();
    while let Some(chunk) = stream.chunk().await? {
        for event in parser.push(&chunk) {
            io.delta(&event.data);
            whole.push_str(&event.data);
        }
    }
    Ok(whole)
}

/// A request against the clock; the loser is dropped.
async fn race(io: &Io) -> Result<String> {
    let mut call = pin!(io.send(post("r")));
    let mut clock = pin!(io.wait(Duration::from_secs(1)));
    let first = poll_fn(|context| {
        if let Poll::Ready(reply) = call.as_mut().poll(context) {
            return Poll::Ready(Some(reply));
        }
        clock.as_mut().poll(context).map(|()| None)
    })
    .await;
    first.map_or_else(|| Ok("late".to_owned()), |reply| Ok(text(&reply?)))
}

/// A generation of one choice.
pub(crate) fn generate(prompt: &str) -> Request<'_> {
    Request::Generate(Generate::new(Prompt::Text(prompt)))
}
