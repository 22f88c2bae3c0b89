INSERT INTO `Property` (`Property`, `Value`) VALUES ('MsiHiddenProperties', 'WACHT_TOKEN')
UPDATE `Property` SET `Value` = 'WACHT_REPLACES;WACHT_COLLECTOR;WACHT_TOKEN;WACHT_PURGE' WHERE `Property` = 'SecureCustomProperties'
INSERT INTO `LaunchCondition` (`Condition`, `Description`) VALUES ('Installed OR VersionNT64 >= 603', 'The Wacht agent needs Windows 10 or Windows Server 2016 with 64 bits, or a newer one.')
INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('LaunchConditions', 100)
INSERT INTO `InstallUISequence` (`Action`, `Sequence`) VALUES ('LaunchConditions', 100)
UPDATE `InstallExecuteSequence` SET `Sequence` = 1501 WHERE `Action` = 'RemoveExistingProducts'
UPDATE `InstallExecuteSequence` SET `Sequence` = 1899 WHERE `Action` = 'Halt'
UPDATE `InstallExecuteSequence` SET `Sequence` = 2001 WHERE `Action` = 'Purge'
UPDATE `CustomAction` SET `Type` = 11282 WHERE `Action` = 'Prepare'
UPDATE `Registry` SET `Key` = 'SYSTEM\CurrentControlSet\Services\EventLog\Application\WachtAgent'
UPDATE `Registry` SET `Value` = '#%%SystemRoot%\System32\EventCreate.exe' WHERE `Name` = 'EventMessageFile'
