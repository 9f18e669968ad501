// A spoken conversation of npm @openai/agents-realtime with the embedded agent: URL FOLDER.
// FOLDER has time.pcm, story.pcm and stop.pcm, 24 kHz. Prints a line for each step; ends with 1 if one is missing.
import { readFileSync } from 'node:fs';
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';

const [url, folder] = process.argv.slice(2);
const setLight = tool({
  name: 'set_light',
  description: 'Switches a lamp.',
  parameters: z.object({ light: z.string(), on: z.boolean() }),
  execute: async ({ light, on }) => `The ${light} is ${on ? 'on' : 'off'}.`,
});
const agent = new RealtimeAgent({ name: 'Ada', instructions: 'Be brief.', tools: [setLight] });
const transport = new OpenAIRealtimeWebSocket({ url, useInsecureApiKey: true });
const session = new RealtimeSession(agent, { transport, model: 'gpt-realtime-2.1' });

let audioBytes = 0;
const waiting = [];
session.on('audio', (event) => { audioBytes += event.data.byteLength; });
session.on('error', (error) => { console.log('ERROR', JSON.stringify(error)); process.exit(1); });
session.on('transport_event', (event) => told(event.type, event));
session.on('audio_interrupted', () => told('audio_interrupted', {}));
session.on('agent_tool_end', (_context, _agent, _tool, result) => told('tool_end', result));

function told(kind, event) {
  for (const one of [...waiting]) {
    if (one.kind === kind) {
      waiting.splice(waiting.indexOf(one), 1);
      one.resolve(event);
    }
  }
}

function next(kind) {
  return new Promise((resolve) => waiting.push({ kind, resolve }));
}

function say(name) {
  const pcm = readFileSync(`${folder}/${name}.pcm`);
  for (let at = 0; at < pcm.length; at += 4800) {
    const piece = pcm.subarray(at, at + 4800);
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.byteLength));
  }
}

function transcripts() {
  return session.history.flatMap((item) => (item.content ?? []).map((part) => part.transcript ?? part.text ?? ''));
}

setTimeout(() => { console.log('ERROR no answer in time; waits for', waiting.map((one) => one.kind)); process.exit(1); }, 60_000);
await session.connect({ apiKey: 'test', url });
console.log('connected');

let done = next('response.done');
say('time');
await done;
await new Promise((resolve) => setTimeout(resolve, 300));
console.log(`spoken turn: ${JSON.stringify(transcripts())}, ${audioBytes} bytes of sound`);

let ended = next('tool_end');
session.sendMessage('Turn on the lamp.');
console.log(`tool: ${await ended}`);
done = next('response.done');
await done;
console.log(`typed turn: ${JSON.stringify(transcripts().at(-1))}`);

let first = next('response.output_audio.delta');
say('story');
await first;
await new Promise((resolve) => setTimeout(resolve, 400));
const interrupted = next('audio_interrupted');
const truncated = next('conversation.item.truncated');
say('stop');
await interrupted;
console.log(`interrupted; truncated at ${(await truncated).audio_end_ms} ms`);
done = next('response.done');
session.sendMessage('Thank you.');
await done;
session.close();
console.log('closed');
process.exit(audioBytes > 0 && transcripts().some((text) => text.startsWith('What time')) ? 0 : 1);
