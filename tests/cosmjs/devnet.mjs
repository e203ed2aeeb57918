// A user of the stock Cosmos client on a devnet: reads an account, simulates, sends tokens, posts a
// job and reads its verified result. Prints one JSON line; README.md lists the variables it takes.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { DirectSecp256k1HdWallet, Registry } from "@cosmjs/proto-signing";
import {
  GasPrice,
  SigningStargateClient,
  calculateFee,
  defaultRegistryTypes,
} from "@cosmjs/stargate";
import { connectComet } from "@cosmjs/tendermint-rpc";
import protobuf from "protobufjs";

const PREFIX = "lockstep";
const DENOM = "ulock";
const POST_JOB = "/lockstep.job.v1.MsgPostJob";
// Gas used may differ a little from what simulation said, since state moves on in between.
const GAS_MARGIN = 1.3;
// The chain refuses inline inputs over 16 KiB.
const INPUT_BYTES_MAX = 16 * 1024;
const VERIFIED = ["JOB_STATE_VERIFIED", "JOB_STATE_FINAL"];
const ENDED_BADLY = [
  "JOB_STATE_EXPIRED",
  "JOB_STATE_UNAVAILABLE",
  "JOB_STATE_FAILED",
  "JOB_STATE_CANCELLED",
];

/** What a user can mend: printed without a stack. */
class Refusal extends Error {}

function setting(name, fallback) {
  const value = process.env[name] ?? fallback;
  if (value === undefined || value === "") {
    throw new Refusal(`${name} is not set; README.md says what each variable means`);
  }
  return value;
}

function wholeNumber(name, fallback) {
  const value = setting(name, fallback);
  if (!/^[1-9][0-9]{0,15}$/.test(value)) {
    throw new Refusal(`${name} must be a whole number over 0, not "${value}"`);
  }
  return Number(value);
}

/** Token ids from a JSON array, as the chain takes them: u32 little endian each. */
function tokenBytes(json) {
  let ids;
  try {
    ids = JSON.parse(json);
  } catch (error) {
    throw new Refusal(`LOCKSTEP_TOKENS is not JSON: ${error.message}`);
  }
  const fits = (id) => Number.isInteger(id) && id >= 0 && id <= 0xffffffff;
  if (!Array.isArray(ids) || ids.length === 0 || !ids.every(fits)) {
    throw new Refusal("LOCKSTEP_TOKENS must be a JSON array of token ids, for example [101, 7592, 102]");
  }
  const bytes = new Uint8Array(ids.length * 4);
  const view = new DataView(bytes.buffer);
  ids.forEach((id, at) => view.setUint32(at * 4, id, true));
  if (bytes.length > INPUT_BYTES_MAX) {
    throw new Refusal(`${ids.length} tokens are ${bytes.length} bytes, over ${INPUT_BYTES_MAX}`);
  }
  return bytes;
}

/** The project's .proto files, read at run time: no generated code. */
function loadSchema(folder) {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => (target.startsWith(folder) ? target : join(folder, target));
  const files = readdirSync(join(folder, "lockstep"), { recursive: true })
    .filter((name) => name.endsWith(".proto"))
    .map((name) => join(folder, "lockstep", name));
  if (files.length === 0) throw new Refusal(`no .proto files in ${folder}/lockstep`);
  return root.loadSync(files).resolveAll();
}

/** Asks a path of `abci_query`; throws with the chain's words where it refuses. */
async function query(comet, schema, path, requestType, request, responseType) {
  const type = schema.lookupType(requestType);
  const data = type.encode(type.create(request)).finish();
  const answer = await comet.abciQuery({ path, data });
  if (answer.code !== 0) {
    throw new Refusal(`${path} was refused with code ${answer.code}: ${answer.log}`);
  }
  const decoded = schema.lookupType(responseType).decode(answer.value);
  return responseType.endsWith("Response")
    ? decoded
    : schema.lookupType(responseType).toObject(decoded, { longs: String, enums: String, defaults: true });
}

async function balanceOf(client, address) {
  return BigInt((await client.getBalance(address, DENOM)).amount);
}

/** Simulates, then signs, broadcasts and waits until the transaction is in a block. */
async function send(client, address, gasPrice, message) {
  const simulated = await client.simulate(address, [message], "").catch((error) => {
    throw new Refusal(`simulating ${message.typeUrl} was refused: ${error.message}`);
  });
  if (!(simulated > 0)) throw new Error(`simulating ${message.typeUrl} used ${simulated} gas`);
  const fee = calculateFee(Math.ceil(simulated * GAS_MARGIN), gasPrice);
  const result = await client.signAndBroadcast(address, [message], fee, "");
  if (result.code !== 0) {
    throw new Refusal(`${message.typeUrl} failed with code ${result.code}: ${result.rawLog}`);
  }
  return { result, simulated, fee: BigInt(fee.amount[0]?.amount ?? "0") };
}

/** MsgSend; checks that both balances moved by exactly what they should. */
async function sendTokens(client, from, to, amount, gasPrice) {
  const before = [await balanceOf(client, from), await balanceOf(client, to)];
  const value = { fromAddress: from, toAddress: to, amount: [{ denom: DENOM, amount: `${amount}` }] };
  const message = { typeUrl: "/cosmos.bank.v1beta1.MsgSend", value };
  const { result, simulated, fee } = await send(client, from, gasPrice, message);
  const after = [await balanceOf(client, from), await balanceOf(client, to)];
  const received = after[1] - before[1];
  const paid = before[0] - after[0];
  if (received !== BigInt(amount)) throw new Error(`recipient got ${received}, not ${amount} ${DENOM}`);
  if (paid !== BigInt(amount) + fee) {
    throw new Error(`sender paid ${paid}, not ${amount} and the fee of ${fee} ${DENOM}`);
  }
  return {
    hash: result.transactionHash,
    height: result.height,
    gas_simulated: simulated,
    gas_used: Number(result.gasUsed),
    fee: Number(fee),
    amount,
  };
}

/** MsgPostJob; the job's id from the message's response. Fields at their default are left out, as
 * the canonical encoding demands (protobufjs would write those that are given). */
async function postJob(client, schema, poster, gasPrice, model, input, maxFee) {
  const message = { typeUrl: POST_JOB, value: { poster, model, input, maxFee } };
  const { result } = await send(client, poster, gasPrice, message);
  const [response] = result.msgResponses;
  if (response?.typeUrl !== `${POST_JOB}Response`) {
    throw new Error(`${POST_JOB} was answered by ${response?.typeUrl ?? "nothing"}`);
  }
  const { job } = schema.lookupType("lockstep.job.v1.MsgPostJobResponse").decode(response.value);
  return { job: String(job), hash: result.transactionHash, height: result.height };
}

/** Waits until a job is verified and its output delivered. */
async function verifiedJob(comet, schema, id, timeoutSeconds) {
  const until = Date.now() + timeoutSeconds * 1000;
  for (;;) {
    const job = await query(
      comet,
      schema,
      "/lockstep.job.v1.Query/Job",
      "lockstep.job.v1.QueryJobRequest",
      // Written out only where it is not the default, as everywhere.
      id === "0" ? {} : { id: protobuf.util.Long.fromString(id, true) },
      "lockstep.job.v1.Job",
    );
    if (VERIFIED.includes(job.state) && job.deliveredHeight !== "0") return job;
    if (ENDED_BADLY.includes(job.state)) throw new Error(`job ${id} ended as ${job.state}`);
    if (Date.now() > until) {
      throw new Error(`job ${id} is still ${job.state} after ${timeoutSeconds} s (LOCKSTEP_TIMEOUT_SECONDS)`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The output's f32 values; an embedding is finite and not all zero. */
function outputOf(job) {
  if (job.status !== "RUN_STATUS_HALTED") throw new Error(`job ${job.id} ended with ${job.status}`);
  const bytes = Uint8Array.from(job.output);
  if (bytes.length === 0 || bytes.length % 4 !== 0) {
    throw new Error(`job ${job.id} has an output of ${bytes.length} bytes, not of f32 values`);
  }
  const values = Array.from(new Float32Array(bytes.buffer));
  const norm = Math.hypot(...values);
  if (!Number.isFinite(norm) || norm === 0) throw new Error(`job ${job.id}: output of norm ${norm}`);
  return { values: values.length, norm };
}

async function main() {
  const endpoint = setting("LOCKSTEP_RPC");
  const recipient = setting("LOCKSTEP_RECIPIENT");
  const model = setting("LOCKSTEP_MODEL");
  const input = tokenBytes(setting("LOCKSTEP_TOKENS"));
  const amount = wholeNumber("LOCKSTEP_AMOUNT", "1000");
  const maxFee = wholeNumber("LOCKSTEP_MAX_FEE", "100000000");
  const timeoutSeconds = wholeNumber("LOCKSTEP_TIMEOUT_SECONDS", "60");
  const protos = fileURLToPath(new URL("../../proto", import.meta.url));
  const schema = loadSchema(setting("LOCKSTEP_PROTO", protos));

  const wallet = await DirectSecp256k1HdWallet.fromMnemonic(setting("LOCKSTEP_MNEMONIC"), {
    prefix: PREFIX,
  });
  const [{ address }] = await wallet.getAccounts();
  if (address === recipient) {
    throw new Refusal(`LOCKSTEP_RECIPIENT is the sender itself, ${address}; name another account`);
  }
  const registry = new Registry(defaultRegistryTypes);
  registry.register(POST_JOB, schema.lookupType("lockstep.job.v1.MsgPostJob"));
  const comet = await connectComet(endpoint).catch((error) => {
    const why = error.cause?.message ?? error.message;
    throw new Refusal(`no node answers at ${endpoint} (LOCKSTEP_RPC): ${why}; is the devnet up?`);
  });
  const client = await SigningStargateClient.connectWithSigner(endpoint, wallet, {
    registry,
    broadcastPollIntervalMs: 100,
  });

  try {
    const chainId = await client.getChainId();
    const account = await client.getAccount(address);
    if (!account) throw new Refusal(`${address} is no account of ${chainId}; fund it first`);
    const balances = await client.getAllBalances(address);
    const params = await query(
      comet,
      schema,
      "/lockstep.chain.v1.Query/Params",
      "lockstep.chain.v1.QueryParamsRequest",
      {},
      "lockstep.chain.v1.Params",
    );
    const gasPrice = GasPrice.fromString(`${(Number(params.gasPrice) / 1e6).toFixed(6)}${DENOM}`);
    const transfer = await sendTokens(client, address, recipient, amount, gasPrice);
    const posted = await postJob(client, schema, address, gasPrice, model, input, maxFee);
    const started = Date.now();
    const job = await verifiedJob(comet, schema, posted.job, timeoutSeconds);
    const output = outputOf(job);
    return {
      chain_id: chainId,
      height: await client.getHeight(),
      address,
      account_number: account.accountNumber,
      sequence: (await client.getSequence(address)).sequence,
      balances,
      transfer,
      job: {
        id: posted.job,
        hash: posted.hash,
        state: job.state,
        posted_height: Number(job.postedHeight),
        verified_height: Number(job.verifiedHeight),
        blocks: Number(job.verifiedHeight) - Number(job.postedHeight),
        seconds: (Date.now() - started) / 1000,
        result_root: Buffer.from(job.resultRoot).toString("hex"),
        output_values: output.values,
        output_norm: output.norm,
        output: Buffer.from(job.output).toString("hex"),
      },
    };
  } finally {
    client.disconnect();
    comet.disconnect();
  }
}

try {
  // Account numbers and sequences come as BigInt.
  const plain = (_key, value) => (typeof value === "bigint" ? Number(value) : value);
  console.log(JSON.stringify(await main(), plain));
} catch (error) {
  console.error(`error: ${error instanceof Refusal ? error.message : (error.stack ?? error)}`);
  process.exitCode = 1;
}
