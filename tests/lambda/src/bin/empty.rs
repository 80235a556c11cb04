//! A Lambda function that answers 200 to everything: what the runtime alone costs.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let answer = |_: LambdaEvent<Value>| async { Ok::<_, Error>(json!({"statusCode": 200})) };
    run(service_fn(answer)).await
}
