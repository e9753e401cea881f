import java.io.File;
import java.io.IOException;
import java.io.Reader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A first message of the sensor-reading contract: FirstMessage ACCESS TOPIC SUBJECT CONTRACT
 *
 * ACCESS is the client.properties of the folder that you were given, or host:port of a broker that is open to everybody.
 */
public class FirstMessage {
    public static void main(String[] given) throws Exception {
        String topic = given[1], subject = given[2];
        Schema contract = new Schema.Parser().parse(new File(given[3]));
        Schema regular = contract.getField("times").schema().getTypes().get(0);

        long minute = 60_000_000; // microseconds
        long start = System.currentTimeMillis() * 1000 - 5 * minute;
        List<Double> heartRates = List.of(61.0, 62.0, 64.0, 63.0);
        GenericRecord message = new GenericRecordBuilder(contract)
            .set("subject", subject)
            .set("metric", "heart_rate")
            .set("unit", "/min")
            .set("source", new GenericRecordBuilder(contract.getField("source").schema()).set("name", "first-watch").build())
            .set("times", new GenericRecordBuilder(regular).set("start", start).set("period", minute).build())
            .set("values", heartRates)
            .build();

        // Avro's single-object encoding: the marker, the fingerprint of the schema, and the body
        ByteBuffer value = new BinaryMessageEncoder<GenericRecord>(GenericData.get(), contract).encode(message);
        byte[] key = subject.getBytes(StandardCharsets.UTF_8);

        var bytes = new ByteArraySerializer();
        try (var producer = new KafkaProducer<byte[], byte[]>(settings(given[0]), bytes, bytes)) {
            RecordMetadata record = producer.send(new ProducerRecord<>(topic, key, toArray(value))).get(10, TimeUnit.SECONDS);
            System.out.printf("%d readings are at %s, partition %d, offset %d%n",
                heartRates.size(), record.topic(), record.partition(), record.offset());
        }
    }

    private static Properties settings(String access) throws IOException {
        var settings = new Properties();
        settings.put("acks", "all");
        settings.put("max.block.ms", 10_000);
        if (!access.endsWith(".properties")) {
            settings.put("bootstrap.servers", access);
            return settings;
        }
        try (Reader reader = Files.newBufferedReader(Path.of(access))) {
            settings.load(reader);
        }
        for (String name : List.of("ssl.truststore.location", "ssl.keystore.location")) // files beside it
            settings.computeIfPresent(name, (key, file) -> Path.of(access).resolveSibling((String) file).toString());
        return settings;
    }

    private static byte[] toArray(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }
}
