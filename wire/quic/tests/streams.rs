//! Requests that the other end does not take whole, over a real connection with small windows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, ReadError, RecvStream, SendStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sign::SigningKey;
use symbolon_quic::{NoAnswer, exchange};
use symbolon_wire::frame::{ALPN_CLIENT, server_name};
use symbolon_wire::tls::{client_config, node_leaf, self_signed, server_config};

/// Bytes that one end sends before the other has read them.
const WINDOW: u32 = 16 * 1024;
/// More than the window.
const REQUEST: Bytes = Bytes::from_static(&[7; 256 * 1024]);
/// Much longer than any of it takes.
const SOON: Duration = Duration::from_secs(30);

/// Two ends of a connection; the endpoints live as long as these are held.
struct Ends {
    asking: Connection,
    answering: Connection,
    _endpoints: [Endpoint; 2],
}

async fn ends() -> Ends {
    let (identity, tls, own) = (key(), key(), key());
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (from, until) = (now_s - 60, now_s + 600);
    let sign = |message: &[u8]| Some(identity.sign(message));
    let leaf = node_leaf(
        tls.to_pkcs8_der().unwrap().expose(),
        identity.verifying_key(),
        &sign,
        from,
        until,
    );
    let server = QuicServerConfig::try_from(server_config(leaf.unwrap()).unwrap()).unwrap();
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
    let mut transport = quinn::TransportConfig::default();
    transport.receive_window(WINDOW.into());
    server.transport_config(Arc::new(transport));
    let there = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let shown = self_signed(own.to_pkcs8_der().unwrap().expose(), from, until).unwrap();
    let expected = Some(identity.verifying_key().clone());
    let client = client_config(shown, ALPN_CLIENT, expected, Arc::new(AwsLc)).unwrap();
    let client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
    let here = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = here
        .connect_with(client, there.local_addr().unwrap(), &server_name(1))
        .unwrap();
    let accepting = async { there.accept().await.unwrap().await.unwrap() };
    let (asking, answering) = tokio::join!(connecting, accepting);
    Ends {
        asking: asking.unwrap(),
        answering,
        _endpoints: [here, there],
    }
}

fn key() -> SigningKey {
    SigningKey::generate(&mut rand::rng())
}

async fn answer(mut send: SendStream, bytes: &'static [u8]) {
    send.write_all(bytes).await.unwrap();
    send.finish().unwrap();
    // Until it is there, or nobody wants it.
    let _ = send.stopped().await;
}

#[tokio::test]
async fn an_answer_to_a_whole_request_comes_and_one_beyond_the_limit_is_refused() {
    let ends = ends().await;
    let answering = async {
        for _ in 0..2 {
            let (send, mut receive) = ends.answering.accept_bi().await.unwrap();
            assert_eq!(receive.read_to_end(REQUEST.len()).await.unwrap(), REQUEST);
            answer(send, b"twelve bytes").await;
        }
    };
    let asking = async {
        assert_eq!(exchange(&ends.asking, REQUEST, 12).await.unwrap(), b"twelve bytes");
        let beyond = exchange(&ends.asking, REQUEST, 11).await;
        assert!(matches!(beyond, Err(NoAnswer::TooLong(11))), "{beyond:?}");
    };
    tokio::join!(asking, answering);
}

/// Several, so that each waits for the room on the connection that the others take.
#[tokio::test]
async fn an_answer_that_comes_before_the_request_was_taken_is_heard() {
    let ends = ends().await;
    let (connection, mut asking) = (ends.asking.clone(), tokio::task::JoinSet::new());
    for _ in 0..16 {
        let connection = connection.clone();
        asking.spawn(async move { tokio::time::timeout(SOON, exchange(&connection, REQUEST, 100)).await });
    }
    let answering = async {
        while let Ok((send, receive)) = ends.answering.accept_bi().await {
            tokio::spawn(refuse(send, receive));
        }
    };
    let all = async {
        while let Some(asked) = asking.join_next().await {
            let answered = asked.unwrap().expect("in time").unwrap();
            assert_eq!(answered, b"no");
        }
    };
    tokio::select! {
        () = all => {}
        () = answering => panic!("the connection was lost"),
    }
}

/// Takes a part of the request.
async fn refuse(send: SendStream, mut receive: RecvStream) {
    receive.read_chunk(1024, true).await.unwrap();
    drop(receive);
    answer(send, b"no").await;
}

#[tokio::test]
async fn a_request_that_is_given_up_is_not_taken_for_a_whole_one() {
    let ends = ends().await;
    let asking = tokio::spawn({
        let connection = ends.asking.clone();
        async move { exchange(&connection, REQUEST, 100).await.map(drop) }
    });
    let (_send, mut receive) = ends.answering.accept_bi().await.unwrap();
    receive.read_chunk(1024, true).await.unwrap();
    asking.abort();
    let rest = tokio::time::timeout(SOON, receive.read_to_end(REQUEST.len()))
        .await
        .unwrap();
    assert!(
        matches!(rest, Err(quinn::ReadToEndError::Read(ReadError::Reset(_)))),
        "{rest:?}"
    );
}
