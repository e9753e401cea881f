"""The names of kafka-python that this room uses, private ones too: a new version of it is judged here.

Its import calls a function that Python 3.11 and 3.12 call deprecated, which must not fail a run with strict warnings.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
    from kafka.consumer.fetcher import Fetcher
    from kafka.errors import (
        ClusterAuthorizationFailedError,
        CorruptRecordError,
        GroupAuthorizationFailedError,
        InvalidTopicError,
        KafkaError,
        KafkaTimeoutError,
        MessageSizeTooLargeError,
        OffsetOutOfRangeError,
        RecordListTooLargeError,
        TopicAlreadyExistsError,
        TopicAuthorizationFailedError,
        UnknownTopicOrPartitionError,
    )
    from kafka.net.compat import KafkaNetClient
    from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
    from kafka.protocol.consumer import IsolationLevel
    from kafka.record import memory_records
    from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
    from kafka.record.util import decode_varint

__all__ = [
    "ClusterAuthorizationFailedError",
    "ConfigResource",
    "ConfigResourceType",
    "CorruptRecordError",
    "DefaultRecord",
    "DefaultRecordBatch",
    "Fetcher",
    "GroupAuthorizationFailedError",
    "InvalidTopicError",
    "IsolationLevel",
    "KafkaAdminClient",
    "KafkaConsumer",
    "KafkaError",
    "KafkaNetClient",
    "KafkaProducer",
    "KafkaSSLTransport",
    "KafkaTCPTransport",
    "KafkaTimeoutError",
    "MessageSizeTooLargeError",
    "NewTopic",
    "OffsetOutOfRangeError",
    "RecordListTooLargeError",
    "TopicAlreadyExistsError",
    "TopicAuthorizationFailedError",
    "TopicPartition",
    "UnknownTopicOrPartitionError",
    "decode_varint",
    "memory_records",
]
