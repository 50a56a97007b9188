//! gRPC without generated code: a call of one path becomes a future, or a stream of answers.

use crate::permission::{self, Interface, Who};
use futures::Stream;
use hh_ipc::agent::{MAX_MESSAGE_BYTES, Method};
use hyper::body::Incoming;
use prost::Message;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// A call as it comes from a connection.
pub(crate) type Call = http::Request<Incoming>;

/// Its answer.
pub(crate) type Answer = http::Response<Body>;

/// The method that is called, where whoever calls may call it. To be asked before anything else.
pub(crate) fn called(call: &Call, who: Who) -> Result<Method, Status> {
    let method = Method::of_path(call.uri().path());
    let method = method.ok_or_else(not_here)?;
    if !permission::allows(Interface::Grpc, method.name(), who) {
        return Err(Status::permission_denied(format!(
            "{} is not for who calls here",
            method.name()
        )));
    }
    Ok(method)
}

/// The messages of an answer, as somebody sends them; it ends when he is gone.
pub(crate) struct Messages<A>(pub(crate) mpsc::Receiver<A>);

impl<A> Stream for Messages<A> {
    type Item = Result<A, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|message| message.map(Ok))
    }
}

/// Answers a call that has one message and gets one.
pub(crate) async fn unary<Q, A, F>(
    call: Call,
    answer: impl FnOnce(Q) -> F + Send + 'static,
) -> Answer
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let once: Once<Request<Q>, Response<A>> = Once::new(move |request: Request<Q>| {
        let answering = answer(request.into_inner());
        Box::pin(async move { answering.await.map(Response::new) })
    });
    grpc().unary(once, call.map(Body::new)).await
}

/// Answers a call that has any number of messages and gets any number. What `answer` gives ends the call when it ends.
pub(crate) async fn streaming<Q, A>(
    call: Call,
    answer: impl FnOnce(Streaming<Q>) -> Messages<A> + Send + 'static,
) -> Answer
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let once: Once<Request<Streaming<Q>>, Response<Messages<A>>> =
        Once::new(move |request: Request<Streaming<Q>>| {
            let answered = Response::new(answer(request.into_inner()));
            Box::pin(std::future::ready(Ok(answered)))
        });
    grpc().streaming(once, call.map(Body::new)).await
}

/// There is no such call.
pub(crate) fn not_here() -> Status {
    Status::unimplemented("there is no such call here")
}

fn grpc<Q, A>() -> Grpc<ProstCodec<A, Q>>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

type Answering<Q, A> = Box<dyn FnOnce(Q) -> BoxFuture<A, Status> + Send>;

/// What tonic calls, which does so once.
struct Once<Q, A>(Option<Answering<Q, A>>);

impl<Q, A> Once<Q, A> {
    fn new(answer: impl FnOnce(Q) -> BoxFuture<A, Status> + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    fn answer(&mut self, request: Q) -> BoxFuture<A, Status> {
        let answer = self.0.take();
        answer.expect("tonic calls a service once for a call")(request)
    }
}

impl<Q, A> UnaryService<Q> for Once<Request<Q>, Response<A>> {
    type Response = A;
    type Future = BoxFuture<Response<A>, Status>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        self.answer(request)
    }
}

impl<Q, A> StreamingService<Q> for Once<Request<Streaming<Q>>, Response<Messages<A>>> {
    type Response = A;
    type ResponseStream = Messages<A>;
    type Future = BoxFuture<Response<Messages<A>>, Status>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Self::Future {
        self.answer(request)
    }
}
