package config

// The raw types of the regions section; raw.go says what raw types are.

type rawRegion struct {
	section
	Name   rawText     `yaml:"name" jsonschema:"required" jsonschema_description:"The region's name, unique in the file."`
	CIDRs  []rawPrefix `yaml:"cidrs" example:"[192.0.2.0/24]" jsonschema_description:"Its prefixes, IPv4 and IPv6."`
	File   rawRanges   `yaml:"file" jsonschema_description:"Path of a file of ranges, as AWS, Google Cloud and Azure publish them, or of one prefix a line; relative to the directory of this file."`
	Select rawSelect   `yaml:"select" example:"{region: eu-west-1}" jsonschema_description:"Which of the ranges are meant. Needed for a cloud's file."`
}

type rawSelect struct {
	section
	Region  rawText `yaml:"region" jsonschema:"required" jsonschema_description:"The region's name in the file: eu-west-1, europe-west1, northeurope."`
	Service rawText `yaml:"service" jsonschema_description:"Only the ranges of this service: EC2, Google Cloud, AzureStorage. Default: all."`
}
