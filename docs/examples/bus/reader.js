// A program outside of the shop that reads its events from RabbitMQ: it prints what was sold, and misses nothing while it is down.
//
//     npm install amqplib@2.3.1; node reader.js amqp://localhost sold
const amqp = require("amqplib");

const seen = new Set(); // an event may come twice, with the same id; a program that writes to a database makes the id a unique key

async function main(url, name) {
  const channel = await (await amqp.connect(url)).createChannel();
  await channel.assertExchange("shop.events", "topic", { durable: true });
  await channel.assertQueue(name, { durable: true, arguments: { "x-queue-type": "quorum", "x-max-length": 50000 } });
  await channel.bindQueue(name, "shop.events", "order.*");
  await channel.prefetch(100);
  await channel.consume(name, (message) => {
    const event = JSON.parse(message.content.toString());
    if (event.type === "order.fulfilled" && !seen.has(event.id)) {
      seen.add(event.id);
      for (const line of event.data.lines) console.log(`${event.subject} ${line.sku} ${line.quantity}`);
    }
    channel.ack(message); // after the effect: what is not acknowledged comes again
  });
  console.log("reading");
}

main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
