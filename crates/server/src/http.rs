//! HTTP for machines that watch: /healthz, /readyz, /metrics. On a small runtime of its own, in its own thread, away from
//! the core; it shows what the core wrote down a moment ago.

use crate::core::Status;
use crate::settings::StartError;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Serves until it is dropped; then the address is free again.
pub struct Serving {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Binds the address and serves in a thread of its own.
pub fn start(address: &str, status: Arc<Mutex<Status>>) -> Result<Serving, StartError> {
    let failed =
        |error: std::io::Error| StartError::new(format!("cannot listen on {address} (--http): {error}"));
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (end, ended) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let look = move || status.lock().map(|shown| shown.clone()).unwrap_or_default();
            let (ready, metrics) = (look.clone(), look);
            let app = Router::new()
                .route("/healthz", get(|| async { "ok\n" }))
                .route(
                    "/readyz",
                    get(move || {
                        let ready = ready().ready;
                        async move {
                            if ready {
                                (StatusCode::OK, "ready\n")
                            } else {
                                (
                                    StatusCode::SERVICE_UNAVAILABLE,
                                    "not ready: no cluster map yet, or the disk failed\n",
                                )
                            }
                        }
                    }),
                )
                .route(
                    "/metrics",
                    get(move || {
                        let text = metrics().metrics;
                        async move { ([("content-type", "text/plain; version=0.0.4")], text) }
                    }),
                );
            // Ends with the runtime.
            drop(tokio::spawn(async move { axum::serve(listener, app).await }));
            let _ = ended.await;
        });
    });
    Ok(Serving { end: Some(end), thread: Some(thread) })
}
