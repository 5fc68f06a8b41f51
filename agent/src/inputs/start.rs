//! Starts inputs: opens or binds what each needs, and gives it its thread or task.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::{
    batcher::Manner,
    config::Input,
    intake::{Origin, Source},
};

use super::{
    End, InputError, Inputs, Setting, Summary,
    feed::{Feeder, Syncs},
    file, host, lock,
    reader::LineReader,
    replay::{Replay, ReplayConfig},
    stdin,
    stop::{ThreadStop, thread_stop},
    udp::UdpInput,
    unix::UnixInput,
};

/// Starts inputs, one after the other.
pub(super) struct Starter<'a> {
    pub(super) setting: &'a Setting,
    pub(super) stopped: watch::Receiver<()>,
    pub(super) inputs: Inputs,
}

impl Starter<'_> {
    pub(super) fn start(&mut self, input: &Input) -> Result<(), InputError> {
        let name = input.to_string();
        match input {
            Input::Host => {
                let (source, clock) = (self.source(&name, Manner::Live), self.setting.clock);
                let origin = source.origin().clone();
                self.thread(&name, origin, move |stop| host::run(&source, clock, &stop))
            }
            Input::Stdin => self.reader(&name, ReplayConfig::default(), stdin::run),
            Input::File { path, speed, shift_now } => {
                let file = file::open(&name, path)?;
                let path = path.clone();
                let replay = ReplayConfig { speed: *speed, shift_now: *shift_now };
                self.reader(&name, replay, move |reader| file::run(reader, file, &path))
            }
            Input::Unix { path } => {
                let socket = UnixInput::bind(&name, path)?;
                let source = self.source(&name, Manner::Live);
                let (setting, stopped) = (self.setting.clone(), self.stopped.clone());
                self.task(source.origin().clone(), name, async move {
                    socket.run(source, setting, stopped).await;
                    End::Stopped
                });
                Ok(())
            }
            Input::Udp { addr } => {
                let socket = UdpInput::bind(&name, *addr)?;
                if let Ok(address) = socket.local_address() {
                    tracing::info!("input {name} listens on {address}");
                }
                let source = self.source(&name, Manner::Live);
                let origin = source.origin().clone();
                let feeder = Feeder::new(source, self.setting, Syncs::NoWayBack);
                self.task(origin, name, socket.run(feeder, self.stopped.clone()));
                Ok(())
            }
        }
    }

    fn source(&self, name: &str, manner: Manner) -> Source {
        self.setting.intake.source(name, manner)
    }

    fn reader(
        &mut self,
        name: &str,
        replay: ReplayConfig,
        run: impl FnOnce(LineReader) -> End + Send + 'static,
    ) -> Result<(), InputError> {
        let source = self.source(name, Manner::Wait);
        let origin = source.origin().clone();
        let feeder = Feeder::new(source, self.setting, Syncs::NoWayBack);
        let replay = Replay::new(replay);
        self.thread(name, origin, move |stop| run(LineReader { feeder, replay, stop }))
    }

    fn thread(
        &mut self,
        name: &str,
        origin: Origin,
        run: impl FnOnce(ThreadStop) -> End + Send + 'static,
    ) -> Result<(), InputError> {
        let (stopper, stop) = thread_stop();
        let input = name.to_owned();
        let summaries = Arc::clone(&self.inputs.summaries);
        let body = move || {
            let end = run(stop);
            note_end(&summaries, Summary { input, end, origin });
        };
        let thread = std::thread::Builder::new().name("input".to_owned()).spawn(body);
        thread.map_err(|source| InputError::Io { input: name.to_owned(), source })?;
        self.inputs.stoppers.push(stopper);
        Ok(())
    }

    fn task(&mut self, origin: Origin, input: String, run: impl Future<Output = End> + Send + 'static) {
        let summaries = Arc::clone(&self.inputs.summaries);
        self.inputs.tasks.spawn(async move {
            let end = run.await;
            note_end(&summaries, Summary { input, end, origin });
        });
    }
}

fn note_end(summaries: &Mutex<Vec<Summary>>, summary: Summary) {
    match &summary.end {
        End::Failed { why } => tracing::error!("input {}: {why}", summary.input),
        End::Whole | End::Stopped => tracing::debug!("{summary} so far"),
    }
    lock(summaries).push(summary);
}
