import java.io.FileInputStream;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A partner's client in the folder that it was given: PartnerClient OWN_TOPIC FOREIGN_TOPIC REJECTIONS */
public class PartnerClient {
    public static void main(String[] topics) throws Exception {
        Properties given = new Properties();
        try (var file = new FileInputStream("client.properties")) {
            given.load(file);
        }
        try (var producer = new KafkaProducer<>(given, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (String topic : List.of(topics[0], topics[1])) {
                try {
                    producer.send(new ProducerRecord<>(topic, "key".getBytes(), "value".getBytes())).get();
                    System.out.println("published");
                } catch (Exception refused) {
                    System.out.println(refused.getCause().getClass().getSimpleName());
                }
            }
        }
        try (var consumer = new KafkaConsumer<>(given, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var rejections = List.of(new TopicPartition(topics[2], 0));
            consumer.assign(rejections);
            consumer.seekToBeginning(rejections);
            System.out.println(consumer.poll(Duration.ofSeconds(5)).count() + " rejected");
        }
    }
}
