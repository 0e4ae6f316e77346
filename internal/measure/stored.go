package measure

// stored gives signals the numbers that they have in what is stored, which
// outlives the program that wrote it: new ones are appended, none is moved or
// taken out.
var stored = [...]Signal{
	Listeners, QueueDepth, QueueLimit, QueueWait, ListenDropsRate, WorkersOccupied, WorkersLimit,
	WorkersSlope, WorkersFullIn, WorkersFullInError, WorkersFullInFast, WorkersRise, TurnAwayLimit,
	SlowClients, CloseWaitLeaked, CloseWaitLeakedSlope, DescriptorsUsed, DescriptorsLimit,
	DescriptorsSlope, StuckClosing, NewFlowsUsual, NewFlowsNorm, NewFlowsLow, Sockets,
	Established, Accepted, AcceptedSlope, Unaccepted, OldestUnaccepted, Busy, CloseWaitAccepted,
	CloseWaitUnaccepted, CloseWaitUnacceptedGrowth, SynRecv, SynSent, FinWait1, FinWait2,
	TimeWait, LastAck, Closing, Retransmitting, ZeroWindow, NewFlowsRate, GoneFlowsRate,
	EstablishedShare, SynSentShare, CloseWaitShare, Pending, PendingLongest, PendingLate,
	LateAfter, Answering, HeardAgo, HeardGapUsual, HeardByChance, FailedAfterHeard,
	ResetAfterHeard, Silent, AnswerNow, AnswerSlow, AnswerUsual, AnswerHigh, ConnectRetrying,
	RetransmitsPerConnectionRate, RetransmitShare, EstablishedRecent, EstablishedMost, VanishedRate,
	VanishedUsual, FinishedRate, CloseWaitLingering, PortsUsed, PortsLimit, BalancerUp,
	ChecksEvery, PassiveOpensRate, ActiveOpensRate, AttemptFailsRate, EstabResetsRate,
	RetransmittedSegmentsRate, RetransmissionTimeoutsRate, ResetsSentRate, ListenOverflowsRate,
	SyncookiesSentRate, AcceptsRate, AttemptFailsUsual, ResetsReceivedRate, ResetsReceivedUsual,
	ActiveOpensUsual, RetransmittedSegmentsUsual, AttemptFailedAgo, ResetReceivedAgo,
	Connections, EstablishedLost, RetransmittingShare, PendingLateShare, Destinations, DestinationsRetransmitting, DestinationsConnecting,
	DestinationsUnanswered, DestinationsLost, DestinationsCloseWait, DestinationsPendingLate, DestinationsResending, DestinationsFewer,
	DestinationsGone, Outgoing, UnclassifiedShare,
	CloseWaitTotalShare, SynSentTotalShare, CloseWaitTotalHigh, SynSentTotalHigh,
	SwitchedAgo, TTLOver, Failing, FailingShare, OldShare, OldNewShare, NewAfterTTL, OlderThanTTL, Moving, ArrivalsRate, ArrivalsExpected, ArrivalsExpectedError, ArrivalsMissing, ResolversAsked, ResolversStale,
}

// storedNumbers are the places of the signals in stored; -1 for one that is
// missing there, which a test finds.
var storedNumbers = func() (numbers [NumSignals]int) {
	for sig := range numbers {
		numbers[sig] = -1
	}
	for n, sig := range stored {
		numbers[sig] = n
	}
	return numbers
}()

// Stored is the signal's number in what is stored: it never changes, as the
// signal itself does when one is put before it. -1 is no signal's.
func (s Signal) Stored() int {
	if int(s) >= NumSignals {
		return -1
	}
	return storedNumbers[s]
}

// StoredSignal is the signal of a number in what is stored; known is false for
// that of another version.
func StoredSignal(number int) (sig Signal, known bool) {
	if number < 0 || number >= len(stored) {
		return 0, false
	}
	return stored[number], true
}
