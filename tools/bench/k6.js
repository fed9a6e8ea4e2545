// The open loop: begins so many requests a second whatever becomes of them, checks each answer.

import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import exec from "k6/execution";

const plan = JSON.parse(open(__ENV.PLAN));
const bodies = plan.requests.map((each) => open(each.file, "b"));
const accepted = new Trend("accepted", true);
const right = new Counter("right");
const wrong = new Counter("wrong");
const refused = new Counter("refused");
const failed = new Counter("failed");
const late = new Counter("late");

export const options = {
  discardResponseBodies: false,
  summaryTrendStats: ["p(50)", "p(90)", "p(99)", "max"],
  scenarios: {
    open: {
      executor: "constant-arrival-rate",
      rate: plan.rate,
      timeUnit: "1s",
      duration: `${plan.seconds}s`,
      preAllocatedVUs: plan.clients,
      maxVUs: plan.clients,
      gracefulStop: "5s",
    },
  },
};

export default function () {
  const turn = exec.scenario.iterationInTest % bodies.length;
  const { path, headers, name, label } = plan.requests[turn];
  const reply = http.post(plan.url + path, bodies[turn], {
    headers: headers,
    timeout: "30s",
  });
  if (reply.status === 429 || reply.status === 503) {
    refused.add(1);
  } else if (reply.status !== 200) {
    failed.add(1);
  } else {
    const plain = reply.body.replaceAll("\\", "");
    const good = plain.includes(name) && (plain.match(/"label"\s*:\s*"([^"]*)"/) || [])[1] === label;
    if (good) accepted.add(reply.timings.duration);
    // an answer after the end is right, but does not count for the rate
    if (!good) wrong.add(1);
    else if (exec.instance.currentTestRunDuration <= plan.seconds * 1000) right.add(1);
    else late.add(1);
  }
}

export function handleSummary(data) {
  const count = (name) => (data.metrics[name] ? data.metrics[name].values.count : 0);
  const values = data.metrics.accepted ? data.metrics.accepted.values : {};
  return {
    stdout: JSON.stringify({
      seconds: plan.seconds,
      right: count("right"),
      late: count("late"),
      wrong: count("wrong"),
      refused: count("refused"),
      failed: count("failed"),
      unsent: count("dropped_iterations"),
      p50: values["p(50)"] || 0,
      p90: values["p(90)"] || 0,
      p99: values["p(99)"] || 0,
    }),
  };
}
