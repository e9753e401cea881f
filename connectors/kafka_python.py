"""The names of kafka-python that this room uses, private ones too: a new version of it is judged here.

Its import calls a function that Python 3.11 and 3.12 call deprecated, which must not fail a run with strict warnings.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import (
        ACL,
        ACLFilter,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ConfigResource,
        ConfigResourceType,
        ResourcePattern,
        ResourcePatternFilter,
        ResourceType,
        ScramMechanism,
        UserScramCredentialUpsertion,
    )
    from kafka.consumer.fetcher import Fetcher
    from kafka.errors import (
        BrokerResponseError,
        ClusterAuthorizationFailedError,
        CorruptRecordError,
        GroupAuthorizationFailedError,
        InvalidTopicError,
        KafkaError,
        KafkaTimeoutError,
        LogTruncationError,
        MessageSizeTooLargeError,
        NotEnoughReplicasError,
        OffsetOutOfRangeError,
        RecordListTooLargeError,
        RetriableError,
        SecurityDisabledError,
        StaleMetadata,
        TopicAlreadyExistsError,
        TopicAuthorizationFailedError,
        TransactionalIdAuthorizationFailedError,
        UnknownTopicOrPartitionError,
    )
    from kafka.errors import for_code as error_of_code
    from kafka.net.compat import KafkaNetClient
    from kafka.net.inet import KafkaNetSocket
    from kafka.net.selector import NetworkSelector
    from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
    from kafka.protocol.admin import AlterClientQuotasRequest, DescribeClientQuotasRequest
    from kafka.protocol.consumer import FetchRequest, IsolationLevel
    from kafka.protocol.metadata import FindCoordinatorRequest
    from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest
    from kafka.record import memory_records
    from kafka.record.default_records import DefaultRecord, DefaultRecordBatch, DefaultRecordBatchBuilder
    from kafka.record.memory_records import MemoryRecords
    from kafka.record.util import decode_varint

__all__ = [
    "ACL",
    "ACLFilter",
    "ACLOperation",
    "ACLPermissionType",
    "ACLResourcePatternType",
    "AlterClientQuotasRequest",
    "BrokerResponseError",
    "ClusterAuthorizationFailedError",
    "ConfigResource",
    "ConfigResourceType",
    "CorruptRecordError",
    "DefaultRecord",
    "DefaultRecordBatch",
    "DefaultRecordBatchBuilder",
    "DescribeClientQuotasRequest",
    "FetchRequest",
    "Fetcher",
    "FindCoordinatorRequest",
    "GroupAuthorizationFailedError",
    "InitProducerIdRequest",
    "InvalidTopicError",
    "IsolationLevel",
    "KafkaAdminClient",
    "KafkaConsumer",
    "KafkaError",
    "KafkaNetClient",
    "KafkaNetSocket",
    "KafkaProducer",
    "KafkaSSLTransport",
    "KafkaTCPTransport",
    "KafkaTimeoutError",
    "LogTruncationError",
    "MemoryRecords",
    "MessageSizeTooLargeError",
    "NetworkSelector",
    "NotEnoughReplicasError",
    "OffsetOutOfRangeError",
    "ProduceRequest",
    "RecordListTooLargeError",
    "ResourcePattern",
    "ResourcePatternFilter",
    "ResourceType",
    "RetriableError",
    "ScramMechanism",
    "SecurityDisabledError",
    "StaleMetadata",
    "TopicAlreadyExistsError",
    "TopicAuthorizationFailedError",
    "TopicPartition",
    "TransactionalIdAuthorizationFailedError",
    "UnknownTopicOrPartitionError",
    "UserScramCredentialUpsertion",
    "decode_varint",
    "error_of_code",
    "memory_records",
]
